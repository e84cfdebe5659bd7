"""REPA and TREAD: their gradients reach the network, and nothing of them is in the model that is exported.

PYTHONPATH=. python -m pytest tests/trainer/test_tricks.py
"""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from onegen.errors import ConfigError
from onegen.sampler.pipeline_onediffusion import OneDiffusionPipeline
from onegen.trainer.batch import make_batch
from onegen.trainer.loss import squared_errors, weighted_sum
from onegen.trainer.trainer import Trainer, train
from onegen.trainer.watch import Lines
from onegen.weights.fetch import fetch
from tests.trainer.test_trainer import HERE, QUIET, distance, same, weights

DEEP = {"depth": 4}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def teacher():
    fetch(("features",))


def made(config, data, out) -> Trainer:
    return Trainer(config, [data], out, HERE, 0, Lines(lambda _: None))


def first_batch(own: Trainer, is_single: bool | None = None):
    examples = [example for bin_ in next(iter(own.loader)) for example in bin_]
    chosen = [example for example in examples if is_single is None or (len(example.views) == 1) == is_single]
    return make_batch(chosen, own.encoders, own.config.noise)


def test_alignment_reaches_the_early_blocks_and_no_later_one(recipe, solids, out):
    own = made(recipe(network=DEEP, repa={"block": 2, "until": 3}), solids, out)
    batch = first_batch(own)
    own.network(batch.views, 1000 * batch.sigma, batch.states, batch.mask)
    own.repa.loss(batch, 0).backward()
    # adaLN gates begin at zero, so that of a fresh block only they and the embedder have a gradient.
    reached = {name for name, weight in own.network.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert "x_embedder.weight" in reached
    assert any(name.startswith("layers.1.") for name in reached)
    assert any(name.startswith("repa.") for name in reached)
    assert not any(name.startswith(("layers.2.", "layers.3.", "final_layer")) for name in reached)
    own.network(batch.views, 1000 * batch.sigma, batch.states, batch.mask)
    assert float(own.repa.loss(batch, 3)) == 0.0


def test_aligned_tokens_come_nearer_to_their_features(recipe, solids, out):
    own = made(recipe(network=DEEP, repa={"block": 2, "until": 100}, optimizer={"lr": 3e-3, "warmup": 0}), solids, out)
    batch = first_batch(own)

    def loss() -> torch.Tensor:
        own.network(batch.views, 1000 * batch.sigma, batch.states, batch.mask)
        return own.repa.loss(batch, 0)

    before = float(loss().detach())
    for _ in range(20):
        loss().backward()
        own.optimizers[0].step()
        own.optimizers[0].zero_grad()
    assert float(loss().detach()) < 0.8 * before


def test_an_aligned_run_resumes_to_the_bit_and_exports_a_plain_model(recipe, solids, tmp_path):
    config = recipe(steps=4, checkpoint_every=2, network=DEEP, repa={"block": 2, "until": 3})
    model = train(config, [solids], tmp_path / "whole", **QUIET)
    assert not any("repa" in name for name in weights(tmp_path / "whole"))
    assert len(OneDiffusionPipeline.from_pretrained(model)("text2image", prompt="a ball", num_inference_steps=1).images)
    train(config.model_copy(update={"steps": 2}), [solids], tmp_path / "parts", **QUIET)
    train(config, [solids], tmp_path / "parts", **QUIET)
    assert same(tmp_path / "whole", tmp_path / "parts")
    train(recipe(steps=4, network=DEEP), [solids], tmp_path / "off", **QUIET)
    assert distance(tmp_path / "whole", tmp_path / "off") > 1e-6


def test_routed_tokens_go_past_the_middle_blocks_and_views_of_others_do_not(recipe, solids, out):
    own = made(recipe(network=DEEP, tread={"first": 2, "last": 3}, data={"tokens": 64}), solids, out)
    seen: list[int] = []
    for block in own.network.layers:
        block.register_forward_hook(lambda block, arguments, output: seen.append(len(arguments[0])))
    single, several = first_batch(own, True), first_batch(own, False)
    for batch, share in ((single, 0.5), (several, 1.0)):
        own.tread.route(batch)
        seen.clear()
        answer = own.network(batch.views, 1000 * batch.sigma, batch.states, batch.mask)
        whole = batch.layout.num_tokens
        assert seen == [whole, whole * share, whole * share, whole]
        assert answer.shape == batch.views.tokens.shape
    own.network.eval()
    seen.clear()
    own.network(single.views, 1000 * single.sigma, single.states, single.mask)
    assert seen == [single.layout.num_tokens] * 4


def test_what_is_routed_is_counted_and_every_block_learns(recipe, solids, out):
    own = made(recipe(network=DEEP, tread={"first": 2, "last": 3}), solids, out)
    own.network.set_attention_backend("math")
    for weight in own.network.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.05)
    batch = first_batch(own)
    own.tread.route(batch)
    with FlopCounterMode(display=False) as counter:
        weighted_sum(squared_errors(own.network, batch, "velocity"), batch).backward()
    assert own.tread.flops(own.sizes, batch) == pytest.approx(counter.get_total_flops(), rel=0.01)
    assert all(weight.grad is not None and weight.grad.any() for weight in own.network.parameters())


def test_a_routed_run_trains_resumes_and_checkpoints_activations(recipe, solids, tmp_path):
    config = recipe(steps=4, checkpoint_every=2, network=DEEP, tread={"first": 2, "last": 3})
    train(config, [solids], tmp_path / "whole", **QUIET)
    train(config.model_copy(update={"steps": 2}), [solids], tmp_path / "parts", **QUIET)
    train(config, [solids], tmp_path / "parts", **QUIET)
    assert same(tmp_path / "whole", tmp_path / "parts")
    train(config.model_copy(update={"checkpointing": True}), [solids], tmp_path / "again", **QUIET)
    assert distance(tmp_path / "whole", tmp_path / "again") < 1e-5


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"repa": {"block": 3, "until": 9}}, "repa.block must be one of the network's 2, got 3"),
        ({"tread": {"last": 3}}, "tread.last must be one of the network's 2 blocks, got 3"),
        ({"tread": {"first": 3, "last": 2}}, "tread.last must be 3"),
        ({"tread": {"last": 2}, "compile": True}, "compile must be false with repa or tread"),
        ({"repa": {"block": 2, "until": 9}, "tread": {"last": 4}}, "repa.block must be before or behind"),
    ],
)
def test_what_cannot_be_is_refused(recipe, solids, out, changes, rule):
    with pytest.raises(ConfigError, match=rule):
        made(recipe(**changes), solids, out)
