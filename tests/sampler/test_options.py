"""The record of options: what the pipeline's call has, by the same names and with the same defaults."""

import dataclasses
import inspect

import pytest

from onegen.sampler.options import DEFAULT_OPTIONS, SamplingOptions, draw
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
