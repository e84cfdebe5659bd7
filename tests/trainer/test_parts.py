"""The parts of a step: batches, losses, averages, rates, costs, additions.

PYTHONPATH=. python -m pytest tests/trainer/test_parts.py
"""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from onegen.config.shipped import shipped
from onegen.config.training import NoiseConfig, OptimizerConfig, load_training
from onegen.errors import ConfigError
from onegen.flow.path import LEAST_SIGMA, velocity_of
from onegen.loader.example import Example
from onegen.model.nextdit import NextDiT
from onegen.tasks.table import TASKS
from onegen.trainer.batch import conditions_of, draw_noise, generator_of, make_batch
from onegen.trainer.cost import Sizes, training_flops
from onegen.trainer.ema import Ema
from onegen.trainer.encoding import Encoders, load_encoders
from onegen.trainer.lora import add_lora, load_adapter, merged, save_adapter
from onegen.trainer.loss import LossLog, squared_errors, weighted_sum
from onegen.trainer.optimizers import make_optimizers, rate
from onegen.weights.fetch import fetch

CPU = torch.device("cpu")
PAPER = NoiseConfig()


def example(task: str = "depth2image", seed: int = 1, side: int = 16, views: int = 2) -> Example:
    rng = np.random.default_rng(seed)
    pictures = tuple(rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(views))
    roles = tuple((*TASKS[task].views, *(["reference"] * 5))[:views])
    return Example("data", f"key{seed}", task, f"{TASKS[task].token} number {seed}", roles, pictures, seed)


@pytest.fixture(scope="module")
def encoders(recipe_of_encoders) -> Encoders:
    return load_encoders(recipe_of_encoders, CPU)


@pytest.fixture(scope="module")
def recipe_of_encoders():
    from onegen.config.training import EncodersConfig

    fetch(("minilm",))
    return EncodersConfig(downscale=4)


@pytest.fixture
def network() -> NextDiT:
    torch.manual_seed(0)
    made = NextDiT(
        in_channels=48,
        hidden_size=48,
        depth=2,
        num_heads=2,
        num_kv_heads=1,
        caption_channels=384,
        multiple_of=16,
        attn_softcap=None,
    )
    for weight in made.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.05)
    return made


def test_what_is_drawn_of_an_example_depends_on_nothing_beside_it(encoders):
    alone = make_batch([example(seed=2)], encoders, PAPER)
    among = make_batch([example(seed=1), example(seed=2), example(seed=3)], encoders, PAPER)
    assert torch.equal(among.sigma[2:4], alone.sigma)
    assert torch.equal(among.views.tokens[8:16], alone.views.tokens)
    assert torch.equal(among.target[8:16], alone.target)
    assert torch.equal(among.states[1][among.mask[1]], alone.states[0][alone.mask[0]])


def test_the_loss_of_many_is_the_sum_of_the_losses_of_each(encoders, network):
    examples = [example(seed=1), example("text2image", 2, 24, 1), example("faceid", 3, 16, 3)]
    with torch.no_grad():
        whole = make_batch(examples, encoders, PAPER)
        together = weighted_sum(squared_errors(network, whole, "velocity"), whole)
        parts = [make_batch([one], encoders, PAPER) for one in examples]
        apart = sum(weighted_sum(squared_errors(network, part, "velocity"), part) for part in parts)
    assert float(together) == pytest.approx(float(apart), rel=1e-5)
    assert whole.num_weighted == sum(part.num_weighted for part in parts) == 2 * 4 + 9 + 3 * 4


def test_noise_levels_have_the_density_of_the_paper():
    sigmas = torch.cat([draw_noise(example(seed=n), PAPER, generator_of(example(seed=n))).sigma for n in range(4000)])
    logit = torch.logit(sigmas.double() / (3 - 2 * sigmas.double()))  # the shift of 3 undone
    assert float(logit.mean()) == pytest.approx(0, abs=0.05)
    assert float(logit.std()) == pytest.approx(1, abs=0.05)


def test_clean_conditions_bear_no_loss_and_go_both_ways():
    config = NoiseConfig(clean=0.8, clean_sigma=0.05, wordless=0.5)
    draws = [draw_noise(example(seed=n), config, generator_of(example(seed=n))) for n in range(2000)]
    clean = [tuple((draw.weight == 0).tolist()) for draw in draws]
    assert sum(any(own) for own in clean) / 2000 == pytest.approx(0.8, abs=0.03)
    assert clean.count((True, False)) / 2000 == pytest.approx(0.4, abs=0.03)
    assert not any(all(own) for own in clean)
    told = torch.cat([draw.sigma[draw.weight == 0] for draw in draws])
    assert 0.048 < float(told.max()) <= 0.05, "as the sampler: without noise, and told the level of a last step"
    assert not any(draw.amount[draw.weight == 0].any() for draw in draws)
    assert all(torch.equal(draw.amount[draw.weight == 1], draw.sigma[draw.weight == 1]) for draw in draws)
    wordless = [draw.prompt == TASKS["depth2image"].token for draw in draws]
    given = [own[0] for own in clean]
    assert sum(wordless) / sum(given) == pytest.approx(0.5, abs=0.06)
    assert not any(word and not own for word, own in zip(wordless, given, strict=True))


def test_conditions_follow_the_task_table():
    assert conditions_of(example("deblurring"), 0.9) == [False, True]
    assert conditions_of(example("depth2image"), 0.1) == [False, True]
    assert conditions_of(example("depth2image"), 0.9) == [True, False]
    assert conditions_of(example("text2image", views=1), 0.5) == [False]
    assert conditions_of(example("faceid", views=3), 0.5) == [False, True, True]
    scene = example("text2image", views=1)
    scene = Example("d", "k", "multiview", "", ("image", "ray") * 2, scene.views * 4, 1)
    assert conditions_of(scene, 0.1) == [True, True, False, True]
    assert conditions_of(scene, 0.9) == [True, False, True, False]


def test_images_may_be_generated_more_often_than_what_is_read_off_them():
    config = NoiseConfig(clean=1.0, images=0.7)
    draws = [draw_noise(example(seed=n), config, generator_of(example(seed=n))) for n in range(2000)]
    assert sum(bool(draw.weight[0]) for draw in draws) / 2000 == pytest.approx(0.7, abs=0.03)
    given = [conditions_of(example("depth2image"), at, 0.7)[0] for at in (0.0, 0.69, 0.71, 0.999)]
    assert given == [False, False, True, True]
    assert conditions_of(example("deblurring"), 0.9, 0.7) == [False, True], "it goes one way"


def test_a_network_that_answers_data_is_turned_into_velocity():
    data, noise = torch.randn(5, 3), torch.randn(5, 3)
    sigma = torch.tensor([0.05, 0.2, 0.5, 0.9, 1.0])[:, None]
    x = torch.lerp(data, noise, sigma)
    assert torch.allclose(velocity_of(data, x, sigma, "data"), noise - data, atol=1e-5)
    assert velocity_of(data, x, sigma, "velocity") is data
    low = velocity_of(torch.zeros(1, 3), torch.ones(1, 3), torch.tensor([[0.01]]), "data")
    assert torch.allclose(low, torch.full((1, 3), 1 / LEAST_SIGMA))
    with pytest.raises(ConfigError, match="must be velocity or data, got 'noise'"):
        velocity_of(data, x, sigma, "noise")
    with pytest.raises(ConfigError, match="must be velocity or data, got 'noise'"):
        NextDiT(hidden_size=48, depth=1, num_heads=2, num_kv_heads=1, prediction="noise")


@pytest.mark.parametrize("ramp", [False, True])
def test_the_average_equals_a_reference_after_ten_steps(ramp):
    layer = nn.Linear(3, 3)
    ema = Ema(layer, 0.9, ramp)
    reference = layer.weight.detach().clone().double()
    for number in range(10):
        with torch.no_grad():
            layer.weight.add_(torch.randn(3, 3))
        ema.update()
        decay = min(0.9, (1 + number) / (10 + number)) if ramp else 0.9
        reference = decay * reference + (1 - decay) * layer.weight.detach().double()
    assert torch.allclose(ema.shadow["weight"].double(), reference, atol=1e-6)
    before = layer.weight.detach().clone()
    with ema.swapped():
        assert torch.allclose(layer.weight.double(), reference, atol=1e-6)
    assert torch.equal(layer.weight, before)


def test_operations_on_paper_are_those_that_torch_counts(encoders, network):
    # sdpa's own kernels on a CPU are not counted by torch; those of `math` are.
    network.set_attention_backend("math")
    batch = make_batch([example(seed=1), example("text2image", 2, 32, 1)], encoders, PAPER)
    with FlopCounterMode(display=False) as counter:
        weighted_sum(squared_errors(network, batch, "velocity"), batch).backward()
    ours = training_flops(Sizes.of(network), batch.layout, [int(n) for n in batch.mask.sum(1)])
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_losses_are_told_by_task_and_noise_level(encoders, network):
    batch = make_batch([example(seed=1), example("text2image", 2, 16, 1)], encoders, PAPER)
    log = LossLog()
    with torch.no_grad():
        errors = squared_errors(network, batch, "velocity")
    log.add(errors, batch)
    told = log.take()
    assert told["loss/text2image"] == pytest.approx(float(errors[8:].mean()), rel=1e-5)
    assert told["loss/depth2image"] == pytest.approx(float(errors[:8].mean()), rel=1e-5)
    assert {name for name in told if name.startswith("loss_at/")} <= {f"loss_at/{n / 10:.1f}" for n in range(10)}
    assert log.take() == {}


def test_rates_over_a_run():
    constant = OptimizerConfig(warmup=10)
    assert [rate(n, 100, constant) for n in (0, 4, 9, 50, 99)] == pytest.approx([0.1, 0.5, 1, 1, 1])
    wsd = OptimizerConfig(warmup=0, schedule="wsd", decay=0.2)
    assert [rate(n, 100, wsd) for n in (0, 79, 80, 90, 99)] == pytest.approx([1, 1, 1, 0.5, 0.05])
    cosine = OptimizerConfig(warmup=0, schedule="cosine")
    assert [rate(n, 100, cosine) for n in (0, 50)] == pytest.approx([1, 0.5])
    assert rate(99, 100, cosine) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.99)))


def test_matrices_decay_and_nothing_else(network):
    (adam,) = make_optimizers(network, OptimizerConfig(weight_decay=0.1))
    for group in adam.param_groups:
        assert all((weight.ndim >= 2) == (group["weight_decay"] > 0) for weight in group["params"])
    muon, adam = make_optimizers(network, OptimizerConfig(name="muon"))
    moved = [id(weight) for opt in (muon, adam) for group in opt.param_groups for weight in group["params"]]
    assert sorted(moved) == sorted(id(weight) for weight in network.parameters())


def test_additions_alone_move_and_come_back_the_same(encoders, network, tmp_path, recipe):
    config = recipe(lora={"rank": 4, "alpha": 8.0}, start="somewhere").lora
    batch = make_batch([example(seed=1)], encoders, PAPER)
    plain = {name: weight.detach().clone() for name, weight in network.state_dict().items()}
    add_lora(network, config)
    with torch.no_grad():
        untouched = squared_errors(network, batch, "velocity")
    (adam,) = make_optimizers(network, OptimizerConfig(lr=1e-2))
    for _ in range(3):
        weighted_sum(squared_errors(network, batch, "velocity"), batch).backward()
        adam.step()
        adam.zero_grad()
    own = {name: weight.detach().clone() for name, weight in network.state_dict().items()}
    for name, weight in own.items():
        if "lora_" not in name:
            assert torch.equal(weight, plain[name.replace(".base_layer", "")]), name
    with torch.no_grad():
        trained = squared_errors(network, batch, "velocity")
    assert not torch.allclose(trained, untouched)
    save_adapter(tmp_path / "lora", own, config)
    fresh = NextDiT.from_config(network.config)
    fresh.load_state_dict(plain)
    load_adapter(tmp_path / "lora", fresh)
    again = NextDiT.from_config(network.config)
    again.load_state_dict(merged(own, config))
    for other in (fresh, again):
        with torch.no_grad():
            assert torch.allclose(squared_errors(other, batch, "velocity"), trained, atol=1e-5)
    with pytest.raises(ConfigError, match="must be linear layers of the network, got 'wz'"):
        add_lora(NextDiT.from_config(network.config), config.model_copy(update={"targets": ["wz"]}))
    with pytest.raises(ConfigError, match="lora must be a folder in PEFT's layout"):
        load_adapter(tmp_path, fresh)


@pytest.mark.parametrize("path", sorted((shipped() / "train").glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes_that_ship_are_recipes(path):
    config = load_training(path)
    assert config.name == path.stem
    if path.stem.startswith("stage"):
        # Section 3.3 of the paper: AdamW at 5e-4, logit-normal times of 0 and 1 with shift 3, an average of 0.9999.
        assert (config.optimizer.name, config.optimizer.lr, config.ema.decay) == ("adamw", 5e-4, 0.9999)
        assert config.noise == NoiseConfig(density="logit_normal", mean=0.0, std=1.0, shift=3.0)
        assert config.network.preset == "released"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lora": {}}, "lora must stand with `start`"),
        ({"data": {"mixture": {"depth2img": 1}}}, "got 'depth2img'; did you mean 'depth2image'"),
        ({"optimiser": {}}, "optimiser: unknown key; did you mean 'optimizer'?"),
        ({"steps": 0}, "steps: must be at least 1, got 0"),
    ],
)
def test_mistakes_in_a_recipe_are_named(recipe, change, message):
    with pytest.raises(ConfigError) as caught:
        recipe(**change)
    assert message in str(caught.value)
