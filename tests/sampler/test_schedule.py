"""The schedule: the numbers printed in the spec, both shifts, and the Euler step to the bit."""

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from onegen.errors import ConfigError
from onegen.sampler.schedule import dynamic_mu, num_generated_tokens, set_timesteps

pytestmark = pytest.mark.torch


def dynamic():
    return FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)


@pytest.mark.parametrize(("views", "side", "tokens"), [(1, 64, 1024), (1, 128, 4096), (3, 64, 3072), (6, 64, 6144)])
def test_tokens_of_generated_views(views, side, tokens):
    assert num_generated_tokens(views, side, side) == tokens


@pytest.mark.parametrize(
    ("tokens", "mu", "shift"), [(4096, 1.15, 3.158), (1024, 0.63, 1.878), (3072, 0.9767, 2.656), (6144, 1.497, 4.467)]
)
def test_mu_is_linear_and_not_clipped(tokens, mu, shift):
    computed = dynamic_mu(tokens, dynamic().config)
    assert computed == pytest.approx(mu, abs=5e-4)
    assert np.exp(computed) == pytest.approx(shift, abs=2e-3)


@pytest.mark.parametrize(
    ("steps", "tokens", "last"), [(50, 1024, 36.90), (75, 1024, 24.745), (50, 4096, 60.55), (50, 3072, 51.41)]
)
def test_the_last_timestep_of_the_dynamic_shift(steps, tokens, last):
    timesteps = set_timesteps(dynamic(), steps, tokens)
    assert timesteps.shape == (steps,)
    assert timesteps.dtype == torch.float32
    assert timesteps[0] == 1000
    assert timesteps[-1].item() == pytest.approx(last, abs=5e-3)
    shift = np.exp(0.5 + (tokens - 256) * 0.65 / 3840)
    assert timesteps[-1].item() == pytest.approx(1000 * shift / (shift + steps - 1), rel=1e-5)


def test_the_static_shift_is_read_from_the_checkpoint_and_ignores_the_tokens():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    few, many = (set_timesteps(scheduler, 50, tokens) for tokens in (16, 65536))
    assert torch.equal(few, many)
    assert few[-1].item() == pytest.approx(57.69, abs=5e-3)
    sigma = np.linspace(1, 1 / 50, 50)
    np.testing.assert_allclose(few.numpy(), 1000 * 3 * sigma / (1 + 2 * sigma), rtol=1e-5)


def test_other_points_of_the_config_are_read():
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.0, max_shift=2.0, base_image_seq_len=0, max_image_seq_len=100
    )
    assert dynamic_mu(50, scheduler.config) == pytest.approx(1.0)


def test_zero_is_appended_and_a_step_is_eulers():
    scheduler = dynamic()
    timesteps = set_timesteps(scheduler, 3, 1024)
    assert scheduler.sigmas[-1] == 0
    x, v = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    got = scheduler.step(v, timesteps[0], x).prev_sample
    # the product is rounded to the velocity's type, the sum is float32, the result the model's type
    difference = scheduler.sigmas[1] - scheduler.sigmas[0]
    assert torch.equal(got, (x.float() + (difference * v)).to(torch.bfloat16))


def test_less_than_one_step_is_refused():
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        set_timesteps(dynamic(), 0, 1024)
