"""The record of options: what the pipeline's call has, by the same names and with the same defaults."""

import dataclasses
import inspect
import math

import pytest

from onegen.errors import ConfigError
from onegen.sampler.options import DEFAULT_OPTIONS, SamplingOptions, check_options, draw
from onegen.sampler.pipeline_onediffusion import OneDiffusionPipeline

pytestmark = pytest.mark.torch

FIELDS = [field.name for field in dataclasses.fields(SamplingOptions)]


def test_names_and_defaults_are_those_of_the_call():
    parameters = inspect.signature(OneDiffusionPipeline.__call__).parameters
    assert {name: parameters[name].default for name in FIELDS} == {
        name: getattr(DEFAULT_OPTIONS, name) for name in FIELDS
    }


def test_every_option_reaches_the_call():
    calls = []
    options = SamplingOptions(**{name: object() for name in FIELDS})
    draw(lambda *views, **keywords: calls.append((views, keywords)), "faceid", [None], "a", "b", options, 3)
    ((views, keywords),) = calls
    assert views == ("faceid", [None], "a", "b")
    assert keywords == {name: getattr(options, name) for name in FIELDS} | {"num_images_per_prompt": 3}


@pytest.mark.parametrize("name", ["guidance_scale", "noise_scale", "rope_scale_factor", "rope_scale_watershed"])
@pytest.mark.parametrize("number", [0.0, -1.0, math.nan, math.inf, -math.inf])
def test_numbers_must_be_finite_and_above_zero(name, number):
    with pytest.raises(ConfigError, match=f"{name} must be finite and above 0, got {number}. 1"):
        check_options(SamplingOptions(**{name: number}))


@pytest.mark.parametrize(
    ("options", "count", "says"),
    [
        ({"height": 33, "width": 32}, 1, "height must be divisible by 16, got 33. Use 32"),
        ({"height": 32, "width": -16}, 1, "width must be divisible by 16, got -16. Use 16"),
        ({"width": 32}, 1, "height and width must be given together"),
        ({"num_inference_steps": 0}, 1, "number of steps must be at least 1, got 0"),
        ({}, 0, "num_images_per_prompt must be at least 1, got 0"),
    ],
)
def test_sizes_and_counts_are_checked_without_a_model(options, count, says):
    with pytest.raises(ConfigError, match=says):
        check_options(SamplingOptions(**options), count)


def test_the_defaults_are_sound():
    check_options(DEFAULT_OPTIONS)
