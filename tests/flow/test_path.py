"""The path, its velocity, and the distribution of training noise levels."""

import math

import pytest

torch = pytest.importorskip("torch")

from onegen.errors import ConfigError  # noqa: E402
from onegen.flow.path import (  # noqa: E402
    draw_noise_like,
    draw_sigmas,
    interpolate,
    predict_data,
    predict_noise,
    shift_sigma,
    to_timestep,
    velocity,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_sigma_0_is_data_and_sigma_1_is_noise():
    data, noise = torch.randn(3, 4), torch.randn(3, 4)
    assert torch.equal(interpolate(data, noise, torch.tensor(0.0)), data)
    assert torch.equal(interpolate(data, noise, torch.tensor(1.0)), noise)
    per_view = interpolate(data, noise, torch.tensor([0.0, 1.0, 0.25])[:, None])
    assert torch.allclose(per_view[2], 0.75 * data[2] + 0.25 * noise[2])
    assert torch.equal(per_view[0], data[0])


def test_velocity_is_the_slope_of_the_path_and_leads_to_both_ends():
    data, noise = torch.randn(5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    sigma = torch.tensor(0.3, dtype=torch.float64)
    slope = (interpolate(data, noise, sigma + 1e-6) - interpolate(data, noise, sigma - 1e-6)) / 2e-6
    assert torch.allclose(slope, velocity(data, noise), atol=1e-8)
    x = interpolate(data, noise, sigma)
    assert torch.allclose(predict_data(x, sigma, velocity(data, noise)), data)
    assert torch.allclose(predict_noise(x, sigma, velocity(data, noise)), noise)


def test_the_network_is_told_a_thousand_sigma_in_float32():
    assert to_timestep(torch.tensor([0.5], dtype=torch.float64)).tolist() == [500.0]
    assert to_timestep(torch.tensor([0.5])).dtype == torch.float32


def test_shift_keeps_the_ends_and_equals_the_dynamic_form():
    sigma = torch.tensor([0.0, 0.1, 0.5, 1.0], dtype=torch.float64)
    assert torch.allclose(shift_sigma(sigma, 3.0), torch.tensor([0.0, 0.25, 0.75, 1.0], dtype=torch.float64))
    mu = 0.63
    dynamic = math.exp(mu) / (math.exp(mu) + (1 / sigma - 1))
    assert torch.allclose(shift_sigma(sigma, math.exp(mu)), dynamic)
    assert torch.equal(shift_sigma(sigma, 1.0), sigma)


def test_the_last_timesteps_are_those_of_the_spec():
    # docs/onediffusion.md: 1000 s / (s + N - 1)
    for tokens_shift, steps, wanted in ((1.878, 50, 36.9), (1.878, 75, 24.7), (3.158, 50, 60.6), (3.0, 50, 57.69)):
        last = 1000 * shift_sigma(torch.tensor(1 / steps), tokens_shift)
        assert abs(last.item() - wanted) < 0.1


def test_logit_normal_levels_have_the_median_and_spread_of_the_paper():
    sigma = draw_sigmas(200_000, seeded(), shift=1.0)
    logit = torch.logit(sigma)
    assert abs(logit.mean()) < 0.01
    assert abs(logit.std() - 1) < 0.01
    shifted = draw_sigmas(200_000, seeded())
    assert abs(shifted.median() - 0.75) < 0.005
    assert torch.equal(shifted, shift_sigma(sigma, 3.0))


def test_uniform_levels_are_flat_and_inside():
    sigma = draw_sigmas(200_000, seeded(), density="uniform", shift=1.0)
    assert torch.allclose(torch.histc(sigma, 10, 0, 1) / 200_000, torch.full((10,), 0.1), atol=0.005)
    assert sigma.min() > 0
    assert sigma.max() < 1


def test_draws_depend_on_the_generator_alone():
    torch.manual_seed(1)
    first = draw_sigmas(4, seeded(7)), draw_noise_like(torch.zeros(2, 3), seeded(7))
    torch.manual_seed(2)
    again = draw_sigmas(4, seeded(7)), draw_noise_like(torch.zeros(2, 3), seeded(7))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], draw_sigmas(4, seeded(8)))
    # half precision gets the same noise, rounded
    assert torch.equal(draw_noise_like(torch.zeros(2, 3).half(), seeded(7)), first[1].half())


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigError, match="shift"):
        shift_sigma(torch.tensor(0.5), 0.0)
    with pytest.raises(ConfigError, match="logit_normal or uniform"):
        draw_sigmas(1, seeded(), density="cosine")
