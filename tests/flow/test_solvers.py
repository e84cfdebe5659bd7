"""Solvers: order of convergence, rounding like diffusers, uniform signatures."""

import inspect

import pytest

torch = pytest.importorskip("torch")

from onegen.errors import ConfigError  # noqa: E402
from onegen.flow.solvers import SOLVERS, Solver, euler, heun, uniform_sigmas  # noqa: E402


def circle(x, sigma):
    """A field with a known answer: x turns with a speed that depends on sigma."""
    return (1 + sigma) * torch.stack([-x[1], x[0]])


def error(solver, num_steps):
    sigmas = torch.linspace(1, 0.1, num_steps + 1, dtype=torch.float64)
    solution = solver(circle, torch.tensor([1.0, 0.0], dtype=torch.float64), sigmas)
    angle = torch.tensor((0.1 + 0.1**2 / 2) - (1 + 1 / 2), dtype=torch.float64)
    return float((solution - torch.stack([angle.cos(), angle.sin()])).norm())


@pytest.mark.parametrize(("solver", "order"), [(euler, 1), (heun, 2)])
def test_halving_the_step_divides_the_error_by_two_to_the_order(solver, order):
    ratio = error(solver, 100) / error(solver, 200)
    assert abs(ratio - 2**order) < 0.2


@pytest.mark.parametrize("solver", SOLVERS.values())
def test_a_straight_path_is_followed_exactly(solver):
    data, noise = torch.randn(2, 3), torch.randn(2, 3)
    solution = solver(lambda x, sigma: noise - data, noise, uniform_sigmas(7))
    assert torch.allclose(solution, data, atol=1e-6)


@pytest.mark.parametrize(
    ("start", "dtype"),
    [(torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16), (torch.float32, torch.bfloat16)],
)
def test_euler_rounds_as_the_scheduler_of_the_release(start, dtype):
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(9, sigmas=torch.linspace(1, 1 / 9, 9).tolist())
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 16, 8, 8, generator=generator).to(start)
    weights = torch.randn(16, 16, generator=generator).to(dtype) / 4

    def model(x, sigma):
        return torch.einsum("bchw,cd->bdhw", x.to(dtype), weights)

    wanted = x
    for timestep in scheduler.timesteps:
        wanted = scheduler.step(model(wanted, timestep / 1000), timestep, wanted).prev_sample
    solution = euler(model, x, scheduler.sigmas)
    assert solution.dtype == dtype
    assert torch.equal(solution, wanted)


@pytest.mark.parametrize(("solver", "calls"), [(euler, 5), (heun, 9)])
def test_the_model_is_called_at_the_noise_levels_and_never_at_0(solver, calls):
    seen = []
    solver(lambda x, sigma: seen.append(float(sigma)) or x, torch.ones(1), uniform_sigmas(5))
    assert len(seen) == calls
    assert min(seen) == pytest.approx(0.2)


@pytest.mark.parametrize("solver", SOLVERS.values())
def test_a_view_with_velocity_0_is_held_still(solver):
    is_target = torch.tensor([1.0, 0.0])[:, None]
    start = torch.randn(2, 3)
    solution = solver(lambda x, sigma: is_target * (x + sigma), start, uniform_sigmas(6))
    assert torch.equal(solution[1], start[1])
    assert not torch.equal(solution[0], start[0])


@pytest.mark.parametrize("solver", SOLVERS.values())
def test_callback_sees_every_step_and_the_result(solver):
    steps = []
    out = solver(
        lambda x, s: x, torch.ones(2), uniform_sigmas(4), callback=lambda i, s, x: steps.append((i, float(s), x))
    )
    assert [step[0] for step in steps] == [0, 1, 2, 3]
    assert [step[1] for step in steps] == pytest.approx([0.75, 0.5, 0.25, 0.0])
    assert torch.equal(steps[-1][2], out)


def test_all_solvers_share_one_signature():
    wanted = [parameter for name, parameter in inspect.signature(Solver.__call__).parameters.items() if name != "self"]
    for solver in SOLVERS.values():
        assert list(inspect.signature(solver).parameters.values()) == wanted


def test_uniform_sigmas_are_those_of_the_spec():
    assert uniform_sigmas(4).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert uniform_sigmas(1).tolist() == [1.0, 0.0]
    with pytest.raises(ConfigError, match="at least 1"):
        uniform_sigmas(0)


@pytest.mark.parametrize("sigmas", [[0.0, 1.0], [1.0], [1.0, 0.5, 0.5], [1.2, 0.0], [1.0, -0.1], [[1.0, 0.0]]])
@pytest.mark.parametrize("solver", SOLVERS.values())
def test_sigmas_that_do_not_fall_are_refused(solver, sigmas):
    with pytest.raises(ConfigError, match="fall strictly"):
        solver(lambda x, sigma: x, torch.ones(1), torch.tensor(sigmas))
