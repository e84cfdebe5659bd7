"""The network against an independent per-token float64 reference, and the traps that concern it."""

import pytest

torch = pytest.importorskip("torch")

from onegen.errors import ConfigError  # noqa: E402
from onegen.model.packing import PackedViews, pack, unpack  # noqa: E402
from tests.model import reference  # noqa: E402
from tests.model.networks import distance, enlarge_queries, random_network, random_text, reference_of  # noqa: E402
from tests.model.per_token import PerTokenNetwork  # noqa: E402


def draw(*shape, seed=2):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def draw_times(*shape, seed=3):
    return 1000 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def reference_velocity(network, samples, times, states, mask, **options):
    weights, shape = reference_of(network)
    arrays = (samples.double().numpy(), times.numpy(), states.double().numpy(), mask.numpy())
    return reference.velocity(weights, shape, *arrays, **options)


@pytest.mark.parametrize("softcap", [None, 30.0])
@pytest.mark.parametrize(
    ("views", "height", "width", "heads", "kv_heads"),
    [(1, 4, 4, 8, 2), (2, 6, 4, 8, 2), (5, 2, 8, 8, 4), (3, 4, 6, 4, 4), (2, 4, 4, 4, 1)],
)
def test_velocity_is_that_of_the_per_token_reference(views, height, width, heads, kv_heads, softcap):
    network = random_network(num_heads=heads, num_kv_heads=kv_heads, attn_softcap=softcap)
    enlarge_queries(network, 6.0)
    samples, times = draw(3, views, 4, height, width), draw_times(3, views)
    states, mask = random_text(3)
    with torch.no_grad():
        velocity = network(samples, times, states, mask)
    assert distance(velocity, reference_velocity(network, samples, times, states, mask)) < 1e-5


def test_the_released_head_shape_agrees_with_the_reference():
    # 32 heads over 8 key heads is where j // 4 and j mod 8 part
    network = random_network(hidden_size=32 * 12, num_heads=32, num_kv_heads=8, depth=1)
    samples, times, (states, mask) = draw(1, 2, 4, 4, 4), draw_times(1, 2), random_text(1)
    with torch.no_grad():
        velocity = network(samples, times, states, mask)
    assert distance(velocity, reference_velocity(network, samples, times, states, mask)) < 1e-5


@pytest.mark.parametrize(
    "options",
    [{"qk_norm": False}, {"pred_sigma": True}, {"ffn_dim_multiplier": 1.3}, {"num_kv_heads": None}, {"norm_eps": 1e-2}],
    ids=str,
)
def test_options_of_the_config_follow_the_reference(options):
    network = random_network(**options)
    samples, times, (states, mask) = draw(2, 2, 4, 4, 4), draw_times(2, 2), random_text(2)
    with torch.no_grad():
        velocity = network(samples, times, states, mask)
    assert distance(velocity, reference_velocity(network, samples, times, states, mask)) < 1e-5


def test_softcap_changes_the_output_only_when_scores_are_large():
    samples, times, (states, mask) = draw(1, 2, 4, 4, 4), draw_times(1, 2), random_text(1)
    with torch.no_grad():
        change = [
            distance(
                enlarge_queries(random_network(attn_softcap=30.0), factor)(samples, times, states, mask),
                enlarge_queries(random_network(), factor)(samples, times, states, mask),
            )
            for factor in (1.0, 10.0)
        ]
    assert change[0] < 2e-3 < 1e-2 < change[1]


@pytest.mark.parametrize(("factor", "watershed"), [(1.5, 400.0), (1.2, 2000.0), (1.3, 1.0)])
def test_stretched_positions_follow_the_reference_sample_by_sample(factor, watershed):
    # at watershed 400 the first sample is stretched linearly, the second by its base
    network, samples, (states, mask) = random_network(), draw(2, 2, 4, 4, 8), random_text(2)
    times = torch.tensor([[100.0, 390.0], [100.0, 410.0]])
    options = {"scale_factor": factor, "scale_watershed": watershed}
    with torch.no_grad():
        velocity = network(samples, times, states, mask, **options)
        plain = network(samples, times, states, mask)
    assert distance(velocity, reference_velocity(network, samples, times, states, mask, **options)) < 1e-5
    assert distance(velocity, plain) > 1e-4


def test_views_longer_than_the_released_table_are_no_error():
    network, (states, mask) = random_network(depth=1), random_text(1)
    samples, times = draw(1, 1, 4, 2, 2 * 130), draw_times(1, 1)
    with torch.no_grad():
        velocity = network(samples, times, states, mask)
    assert distance(velocity, reference_velocity(network, samples, times, states, mask)) < 1e-5


def test_padding_anywhere_is_ignored():
    network, samples, times = random_network(), draw(1, 2, 4, 4, 4), draw_times(1, 2)
    states, _ = random_text(1, length=6)
    mask = torch.tensor([[1, 0, 1, 1, 0, 0]])
    with torch.no_grad():
        velocity = network(samples, times, states, mask)
        trimmed = network(samples, times, states[:, [0, 2, 3]])
    assert distance(velocity, reference_velocity(network, samples, times, states, mask)) < 1e-5
    assert distance(velocity, trimmed) < 1e-6


def test_time_and_modulation_are_computed_per_view_and_text_per_real_token():
    network, rows = random_network(), {}
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda _, inputs, out, name=name: rows.update({name: out[..., 0].numel()}))
    states, mask = random_text(2)
    network(draw(2, 3, 4, 4, 6), draw_times(2, 3), states, mask)
    for name, count in rows.items():
        if "adaLN_modulation" in name or name.startswith("t_embedder"):
            assert count == 6, name  # 2 samples of 3 views
        elif name.endswith("_y"):
            assert count == mask.sum(), name
        elif name == "y_embedder.1":
            assert count == 2, name
        else:
            assert count == 36, name  # 6 tokens of each view


def test_a_sample_without_text_attends_to_none_and_leaves_its_neighbour_alone():
    network, samples, times = random_network(), draw(2, 2, 4, 4, 4), draw_times(2, 2)
    states, mask = random_text(2)
    mask[0] = 0
    with torch.no_grad():
        velocity = network(samples, times, states, mask)
        nothing = network(samples, times, states, torch.zeros_like(mask))
    assert torch.isfinite(velocity).all()
    assert distance(velocity, reference_velocity(network, samples, times, states, mask)) < 1e-5
    assert distance(nothing[:1], velocity[:1]) < 1e-6


def gradients(network):
    return {name: weight.grad.clone() for name, weight in network.named_parameters()}


def assert_same_gradients(actual, wanted, tolerance):
    total = sum(float(grad.norm()) ** 2 for grad in wanted.values()) ** 0.5
    for name, grad in wanted.items():
        # ky_norm.bias shifts all scores of a query alike, so its true gradient is 0: compare with the whole there
        size = max(float(grad.norm()), 1e-3 * total)
        assert float((actual[name].double() - grad.double()).norm()) < tolerance * size, name


def mixed_batch(dtype=torch.float32):
    sizes = [[(4, 4)], [(4, 6), (2, 2), (4, 6)], [(8, 2), (2, 4)], [(4, 4)]]
    samples = [
        [draw(4, *size, seed=10 * s + n).to(dtype) for n, size in enumerate(sample)] for s, sample in enumerate(sizes)
    ]
    times = [draw_times(len(sample), seed=s) for s, sample in enumerate(sizes)]
    states, mask = random_text(4)
    return samples, times, states.to(dtype), mask


@pytest.mark.parametrize("softcap", [None, 30.0])
def test_packed_samples_equal_each_alone_and_the_reference(softcap):
    network = random_network(attn_softcap=softcap)
    samples, times, states, mask = mixed_batch()
    packed = pack(samples)
    weights, shape = reference_of(network)
    with torch.no_grad():
        views = unpack(PackedViews(network(packed, torch.cat(times), states, mask), packed.layout))
        for s, sample in enumerate(samples):
            alone = unpack(
                PackedViews(
                    network(pack([sample]), times[s], states[s : s + 1], mask[s : s + 1]), pack([sample]).layout
                )
            )
            arrays = (
                [v.double().numpy() for v in sample],
                times[s].numpy(),
                states[s].double().numpy(),
                mask[s].numpy(),
            )
            wanted = reference.sample_velocity(weights, shape, *arrays)
            for n in range(len(sample)):
                assert distance(views[s][n], alone[0][n]) < 1e-5
                assert distance(views[s][n], wanted[n]) < 1e-5


def test_packed_stretched_positions_equal_each_alone():
    network = random_network()
    samples, times, states, mask = mixed_batch()
    options = {"scale_factor": 1.4, "scale_watershed": float(times[1].max()) + 1}
    with torch.no_grad():
        velocity = network(pack(samples), torch.cat(times), states, mask, **options)
        alone = [
            network(pack([sample]), times[s], states[s : s + 1], mask[s : s + 1], **options)
            for s, sample in enumerate(samples)
        ]
    assert distance(velocity, torch.cat(alone)) < 1e-5


def test_gradients_of_a_packed_batch_are_the_sum_of_those_alone():
    network = random_network().double()
    samples, times, states, mask = mixed_batch(torch.float64)
    network(pack(samples), torch.cat(times), states, mask).square().sum().backward()
    together = gradients(network)
    network.zero_grad()
    for s, sample in enumerate(samples):
        network(pack([sample]), times[s], states[s : s + 1], mask[s : s + 1]).square().sum().backward()
    alone = gradients(network)
    assert all(torch.isfinite(grad).all() and grad.norm() > 0 for grad in alone.values())
    assert_same_gradients(together, alone, 1e-5)


@pytest.mark.parametrize("softcap", [None, 30.0])
def test_gradients_are_those_of_the_per_token_network(softcap):
    network = enlarge_queries(random_network(attn_softcap=softcap), 4.0)
    samples, times, (states, mask) = draw(2, 3, 4, 4, 6), draw_times(2, 3), random_text(2)
    weights = {name: weight.detach().double().requires_grad_() for name, weight in network.named_parameters()}
    plain = PerTokenNetwork(weights, 8, 2, (3, 2, 3), attn_softcap=softcap)
    wanted = plain(samples.double(), times, states.double(), mask)
    velocity = network(samples, times, states, mask)
    assert distance(velocity, wanted) < 1e-5
    wanted.square().sum().backward()
    velocity.square().sum().backward()
    assert_same_gradients(gradients(network), {name: weight.grad for name, weight in weights.items()}, 1e-4)


@pytest.mark.parametrize("softcap", [None, 30.0])
def test_the_per_token_network_of_the_benchmark_is_the_reference_too(softcap):
    network = enlarge_queries(random_network(attn_softcap=softcap), 4.0)
    samples, times, (states, mask) = draw(2, 3, 4, 4, 6), draw_times(2, 3), random_text(2)
    plain = PerTokenNetwork(network.state_dict(), 8, 2, (3, 2, 3), attn_softcap=softcap)
    assert (
        distance(plain(samples, times, states, mask), reference_velocity(network, samples, times, states, mask)) < 1e-5
    )


def test_a_batch_without_a_frame_axis_keeps_its_shape_and_its_samples_apart():
    # the official pipeline returned (B,1,C,h,w) here and mixed the samples of any batch above one
    network, samples, times = random_network(), draw(3, 4, 4, 6), draw_times(3)
    states, mask = random_text(3)
    with torch.no_grad():
        velocity = network(samples, times, states, mask)
        alone = [network(samples[b : b + 1], times[b : b + 1], states[b : b + 1], mask[b : b + 1]) for b in range(3)]
    assert velocity.shape == samples.shape
    assert distance(velocity, torch.cat(alone)) < 1e-5


def test_times_may_be_one_number_per_batch_per_sample_per_view_or_a_map():
    network, samples, (states, mask) = random_network(), draw(2, 3, 4, 4, 4), random_text(2)
    per_view = torch.tensor([[700.0, 700.0, 36.9], [20.0, 20.0, 20.0]])
    with torch.no_grad():
        wanted = network(samples, per_view, states, mask)
        by_map = network(samples, per_view[:, :, None, None, None].expand_as(samples), states, mask)
        same = network(samples, torch.full((2, 3), 5.5), states, mask)
        assert torch.equal(by_map, wanted)
        assert torch.equal(network(samples, torch.tensor(5.5), states, mask), same)
        assert torch.equal(network(samples, torch.tensor([5.5, 5.5]), states, mask), same)
        assert torch.equal(network(samples, per_view[:, 2], states, mask)[1], wanted[1])


def test_time_varying_inside_a_view_is_refused():
    network, samples, (states, mask) = random_network(), draw(1, 1, 4, 4, 4), random_text(1)
    times = torch.full_like(samples, 10.0)
    times[0, 0, 0, 0, 0] = 11.0
    with pytest.raises(ConfigError, match="constant inside a view"):
        network(samples, times, states, mask)


def test_time_is_not_rounded_in_half_precision():
    # bf16 has 8 bits: 999 and 1000 would be one number
    embedder = random_network().bfloat16().t_embedder
    near = embedder(torch.tensor([998.0, 1001.0]))
    assert distance(near[0], near[1]) > 0.05


def test_times_rounded_before_they_arrive_are_refused():
    network, (states, mask) = random_network(depth=1), random_text(1)
    with pytest.raises(ConfigError, match="must be float32"):
        network(draw(1, 1, 4, 4, 4), torch.tensor(998.0).bfloat16(), states, mask)


def test_half_precision_stays_near_full_precision():
    network = random_network()
    samples, times, (states, mask) = draw(2, 2, 4, 4, 4), draw_times(2, 2), random_text(2)
    with torch.no_grad():
        wanted = network(samples, times, states, mask)
        velocity = network.bfloat16()(samples, times, states, mask)
    assert velocity.dtype == torch.bfloat16
    assert distance(velocity, wanted) < 0.03


def test_autocast_trains():
    network = random_network()
    samples, times, (states, mask) = draw(2, 2, 4, 4, 4), draw_times(2, 2), random_text(2)
    with torch.no_grad():
        wanted = network(samples, times, states, mask)
    with torch.autocast("cpu", torch.bfloat16):
        velocity = network(samples, times, states, mask)
    velocity.float().square().mean().backward()
    assert distance(velocity, wanted) < 0.03
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters())


def test_text_encoded_once_serves_every_step_and_any_selection():
    network, times = random_network(), draw_times(4)
    states, mask = random_text(2)
    calls = []
    for block in network.layers:
        block.attention.wk_y.register_forward_hook(lambda *_: calls.append(1))
    rows = [0, 0, 1, 0]
    with torch.no_grad():
        text = network.encode_text(states, mask).select(rows)
        velocities = [network(draw(4, 1, 4, 4, 4, seed=step), times, text=text) for step in range(3)]
    assert len(calls) == len(network.layers)
    with torch.no_grad():
        for step, velocity in enumerate(velocities):
            fresh = network(draw(4, 1, 4, 4, 4, seed=step), times, states[rows], mask[rows])
            assert distance(velocity, fresh) < 1e-6


def test_gradients_reach_the_text_weights_through_an_encoded_text():
    network, samples, times, (states, mask) = random_network(), draw(2, 1, 4, 4, 4), draw_times(2), random_text(2)
    network(samples, times, text=network.encode_text(states, mask)).square().sum().backward()
    through_cache = network.layers[1].attention.wk_y.weight.grad.clone()
    network.zero_grad()
    network(samples, times, states, mask).square().sum().backward()
    assert distance(through_cache, network.layers[1].attention.wk_y.weight.grad) < 1e-5


def saved_bytes(run):
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = run()
    return sum(kept.values()), out


def checkpoint_by_diffusers(network):
    network.train().enable_gradient_checkpointing()


def checkpoint_every_second_block(network):
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    for i in range(0, len(network.layers), 2):
        network.layers[i] = checkpoint_wrapper(network.layers[i])


@pytest.mark.parametrize("apply", [checkpoint_by_diffusers, checkpoint_every_second_block])
def test_checkpointing_from_outside_keeps_gradients_and_frees_memory(apply):
    samples, times, (states, mask) = draw(2, 2, 4, 8, 8), draw_times(2, 2), random_text(2)
    plain, checkpointed = random_network(depth=4), random_network(depth=4)
    keys = list(plain.state_dict())
    apply(checkpointed)
    plain_bytes, out = saved_bytes(lambda: plain(samples, times, states, mask))
    out.square().sum().backward()
    fewer_bytes, out = saved_bytes(lambda: checkpointed(samples, times, states, mask))
    out.square().sum().backward()
    assert fewer_bytes < 0.7 * plain_bytes
    assert list(checkpointed.state_dict()) == keys
    names = list(plain.state_dict())  # wrapped blocks have other parameter names, in the same order
    actual = dict(zip(names, gradients(checkpointed).values(), strict=True))
    assert_same_gradients(actual, dict(zip(names, gradients(plain).values(), strict=True)), 1e-6)


@pytest.fixture
def process_group(tmp_path):
    torch.distributed.init_process_group("gloo", f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.usefixtures("process_group")
def test_sharding_from_outside_keeps_the_velocity_and_reaches_every_weight(dtype):
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    network, sharded = random_network(), random_network()
    policy = MixedPrecisionPolicy(param_dtype=dtype, cast_forward_inputs=False)
    for block in sharded.layers:
        fully_shard(block, mp_policy=policy)
        register_fsdp_forward_method(block, "text_keys_values")
    fully_shard(sharded, mp_policy=policy)
    register_fsdp_forward_method(sharded, "encode_text")
    samples, times, states, mask = mixed_batch()
    wanted = network(pack(samples), torch.cat(times), states, mask)
    velocity = sharded(pack(samples), torch.cat(times), states, mask)
    assert distance(velocity.float(), wanted) < (1e-6 if dtype == torch.float32 else 0.03)
    velocity.float().square().sum().backward()
    assert all(torch.isfinite(weight.grad.full_tensor()).all() for weight in sharded.parameters())
    with torch.no_grad():
        reused = sharded(pack(samples), torch.cat(times), text=sharded.encode_text(states, mask))
    assert distance(reused.float(), wanted) < (1e-6 if dtype == torch.float32 else 0.03)


@pytest.mark.slow
def test_a_compiled_block_gives_the_same_velocity_and_gradients():
    network, compiled = random_network(), random_network()
    for block in compiled.layers:
        block.compile(fullgraph=True)
    samples, times, states, mask = mixed_batch()
    velocity = compiled(pack(samples), torch.cat(times), states, mask)
    wanted = network(pack(samples), torch.cat(times), states, mask)
    velocity.square().sum().backward()
    wanted.square().sum().backward()
    assert distance(velocity, wanted) < 1e-5
    assert_same_gradients(gradients(compiled), gradients(network), 1e-4)


def test_a_fresh_network_is_the_zero_velocity_and_learns():
    from onegen.model.nextdit import NextDiT

    torch.manual_seed(0)
    network = NextDiT.from_preset("tiny", in_channels=4, caption_channels=40)
    samples, times, (states, mask) = draw(2, 1, 4, 4, 4), draw_times(2), random_text(2)
    assert not network(samples, times, states, mask).any()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        loss = (network(samples, times, states, mask) - samples).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": torch.zeros(1, 1, 4, 3, 4)}, "divisible by 2"),
        ({"samples": torch.zeros(1, 1, 5, 4, 4)}, "C=4"),
        ({"timesteps": torch.zeros(3)}, "timesteps must be"),
        ({"encoder_hidden_states": torch.zeros(1, 7, 41)}, "caption_channels"),
        ({"encoder_hidden_states": torch.zeros(2, 7, 40), "encoder_attention_mask": None}, "one row per sample"),
        ({"encoder_attention_mask": torch.ones(1, 6)}, "mask"),
        ({"encoder_hidden_states": None}, "text must be given once"),
        ({"scale_factor": 0.0}, "scale_factor"),
        ({"samples": pack([[torch.zeros(5, 4, 4)]]), "timesteps": torch.zeros(1)}, "tokens must be"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_input_is_a_clear_error(change, message):
    network, (states, mask) = random_network(depth=1), random_text(1)
    arguments = {"samples": torch.zeros(1, 1, 4, 4, 4), "timesteps": torch.zeros(1, 1)}
    arguments |= {"encoder_hidden_states": states, "encoder_attention_mask": mask}
    with pytest.raises(ConfigError, match=message):
        network(**{**arguments, **change})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 5}, "num_heads"),
        ({"hidden_size": 64}, "divisible by 6"),
        ({"num_kv_heads": 3}, "num_kv_heads"),
        ({"norm_type": "layer"}, "norm_type"),
        ({"patch_size": (2, 2, 2)}, "patch_size"),
        ({"attn_softcap": 0.0}, "attn_softcap"),
    ],
)
def test_sizes_that_cannot_work_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        random_network(**options)
