"""The released folder layout: its keys, shapes and config (docs/onediffusion.md), and strict loading."""

import json
import logging

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from onegen.errors import ConfigError  # noqa: E402
from onegen.model.nextdit import NextDiT  # noqa: E402
from onegen.model.presets import PRESETS  # noqa: E402
from tests.model.networks import distance, random_network, random_text  # noqa: E402

# transformer/config.json of the release, with leftovers of its training
RELEASED_CONFIG = {
    "_class_name": "NextDiT",
    "_diffusers_version": "0.30.0.dev0",
    "_name_or_path": "somewhere",
    "caption_channels": 2048,
    "decay": 0.9999,
    "depth": 16,
    "ffn_dim_multiplier": None,
    "forward_dtype": "bfloat16",
    "hidden_size": 3840,
    "in_channels": 16,
    "input_size": [1, 96, 96],
    "inv_gamma": 1.0,
    "min_decay": 0.0,
    "model_max_length": 512,
    "multiple_of": 256,
    "norm_eps": 1e-05,
    "norm_type": "rms",
    "num_heads": 32,
    "num_kv_heads": 8,
    "optimization_step": 8000,
    "param_dtype": "float32",
    "patch_size": [1, 2, 2],
    "power": 0.6666666666666666,
    "pred_sigma": False,
    "qk_norm": True,
    "remat_attention": "",
    "remat_block": "",
    "remat_mlp": "",
    "rotary_max_length": 128,
    "rotary_max_length_t": None,
    "update_after_step": 0,
    "use_ema_warmup": False,
}

D, K, F, Y, A, P, H = 3840, 960, 10240, 2048, 1024, 64, 32

OUTER_SHAPES = {
    "x_embedder.weight": (D, P),
    "x_embedder.bias": (D,),
    "t_embedder.mlp.0.weight": (A, 256),
    "t_embedder.mlp.0.bias": (A,),
    "t_embedder.mlp.2.weight": (A, A),
    "t_embedder.mlp.2.bias": (A,),
    "y_embedder.0.weight": (Y,),
    "y_embedder.0.bias": (Y,),
    "y_embedder.1.weight": (A, Y),
    "y_embedder.1.bias": (A,),
    "final_layer.linear.weight": (P, D),
    "final_layer.linear.bias": (P,),
    "final_layer.adaLN_modulation.1.weight": (D, A),
    "final_layer.adaLN_modulation.1.bias": (D,),
}
BLOCK_SHAPES = {
    "attention.wq.weight": (D, D),
    "attention.wo.weight": (D, D),
    "attention.wk.weight": (K, D),
    "attention.wv.weight": (K, D),
    "attention.wk_y.weight": (K, Y),
    "attention.wv_y.weight": (K, Y),
    "attention.gate": (H,),
    "attention.q_norm.weight": (D,),
    "attention.q_norm.bias": (D,),
    "attention.k_norm.weight": (K,),
    "attention.k_norm.bias": (K,),
    "attention.ky_norm.weight": (K,),
    "attention.ky_norm.bias": (K,),
    "feed_forward.w1.weight": (F, D),
    "feed_forward.w3.weight": (F, D),
    "feed_forward.w2.weight": (D, F),
    "attention_norm1.weight": (D,),
    "attention_norm2.weight": (D,),
    "ffn_norm1.weight": (D,),
    "ffn_norm2.weight": (D,),
    "attention_y_norm.weight": (Y,),
    "adaLN_modulation.1.weight": (4 * D, A),
    "adaLN_modulation.1.bias": (4 * D,),
}


def test_the_released_config_gives_the_released_keys_shapes_and_count():
    with torch.device("meta"):
        network = NextDiT.from_config(RELEASED_CONFIG)
    blocks = {f"layers.{i}.{name}": shape for i in range(16) for name, shape in BLOCK_SHAPES.items()}
    assert {name: tuple(weight.shape) for name, weight in network.state_dict().items()} == OUTER_SHAPES | blocks
    assert len(network.state_dict()) == 382
    assert sum(weight.numel() for weight in network.parameters()) == 2_800_389_184
    assert sum(weight.numel() for weight in network.layers[3].parameters()) == 174_533_920
    assert network.config.attn_softcap == 30.0


def test_the_defaults_are_the_released_network():
    with torch.device("meta"):
        default, released = NextDiT(), NextDiT.from_preset("released", attn_softcap=30.0)
    assert {name: value for name, value in default.config.items() if name[0] != "_"} == {
        name: value for name, value in released.config.items() if name[0] != "_"
    }


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_can_be_built(preset):
    with torch.device("meta"):
        network = NextDiT.from_preset(preset)
    head_dim = network.config.hidden_size // network.config.num_heads
    assert head_dim % (120 if preset == "released" else 48) == 0


def test_the_tiny_preset_has_14_million_weights_with_the_embedded_text_encoder():
    with torch.device("meta"):
        network = NextDiT.from_preset("tiny", caption_channels=384)
    assert sum(weight.numel() for weight in network.parameters()) == 13_891_312


def test_an_unknown_preset_is_an_error():
    with pytest.raises(ConfigError, match="tiny"):
        NextDiT.from_preset("huge")


def output_of(network):
    states, mask = random_text(2)
    samples = torch.randn(2, 2, 4, 4, 4, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return network(samples, torch.tensor([[900.0, 30.0], [2.0, 500.0]]), states, mask)


@pytest.mark.parametrize("softcap", [None, 30.0])
def test_a_saved_network_comes_back_the_same(tmp_path, softcap):
    network = random_network(attn_softcap=softcap)
    network.save_pretrained(tmp_path / "transformer")
    assert sorted(path.name for path in (tmp_path / "transformer").iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    assert json.loads((tmp_path / "transformer/config.json").read_text())["attn_softcap"] == softcap
    loaded = NextDiT.from_pretrained(tmp_path, subfolder="transformer")
    assert torch.equal(output_of(loaded), output_of(network))


def test_a_sharded_network_comes_back_the_same(tmp_path):
    network = random_network()
    network.save_pretrained(tmp_path, max_shard_size="200KB")
    assert (tmp_path / "diffusion_pytorch_model.safetensors.index.json").exists()
    assert torch.equal(output_of(NextDiT.from_pretrained(tmp_path)), output_of(network))


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(folder, change):
    path = folder / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


def test_leftover_config_keys_are_ignored_and_a_missing_softcap_is_30(tmp_path):
    network = random_network(attn_softcap=30.0)
    network.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["attn_softcap"]
    leftovers = {name: value for name, value in RELEASED_CONFIG.items() if name not in config}
    assert {"decay", "optimization_step", "remat_block", "param_dtype"} <= set(leftovers)
    (tmp_path / "config.json").write_text(json.dumps(config | leftovers))
    loaded = NextDiT.from_pretrained(tmp_path)
    assert loaded.config.attn_softcap == 30.0
    assert torch.equal(output_of(loaded), output_of(network))


def test_softcap_can_be_chosen_at_loading_and_is_logged(tmp_path, caplog):
    random_network(attn_softcap=30.0).save_pretrained(tmp_path)
    with caplog.at_level(logging.INFO, logger="onegen.model.nextdit"):
        loaded = NextDiT.from_pretrained(tmp_path, attn_softcap=None)
    assert loaded.config.attn_softcap is None
    assert loaded.attention_backend == "sdpa"
    assert "attn_softcap None, attention backend sdpa" in caplog.text
    loaded.save_pretrained(tmp_path / "again")
    assert NextDiT.from_pretrained(tmp_path / "again").config.attn_softcap is None


def test_the_dtype_is_honoured(tmp_path):
    network = random_network()
    network.save_pretrained(tmp_path)
    loaded = NextDiT.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert {weight.dtype for weight in loaded.state_dict().values()} == {torch.bfloat16}
    assert distance(output_of(loaded), output_of(network)) < 0.03


def remove_a_gate(weights):
    del weights["layers.1.attention.gate"]


def rename_a_gate(weights):
    weights["layers.1.attention.gates"] = weights.pop("layers.1.attention.gate")


def widen_a_bias(weights):
    weights["x_embedder.bias"] = torch.zeros(97)


def spoil_a_weight(weights):
    weights["layers.0.feed_forward.w2.weight"][3, 5] = float("nan")


def overflow_a_weight(weights):
    weights["t_embedder.mlp.0.bias"][0] = float("inf")


@pytest.mark.parametrize("low_memory", [True, False])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (remove_a_gate, ["lacks layers.1.attention.gate."]),
        (rename_a_gate, ["lacks layers.1.attention.gate; has extra layers.1.attention.gates."]),
        (widen_a_bias, ["x_embedder.bias", "97"]),
        (spoil_a_weight, ["NaN", "layers.0.feed_forward.w2.weight"]),
        (overflow_a_weight, ["infinity", "t_embedder.mlp.0.bias"]),
    ],
)
def test_weights_that_do_not_fit_are_listed(tmp_path, change, named, low_memory):
    random_network().save_pretrained(tmp_path)
    change_weights(tmp_path, change)
    with pytest.raises(ConfigError) as error:
        NextDiT.from_pretrained(tmp_path, low_cpu_mem_usage=low_memory)
    assert str(tmp_path) in str(error.value)
    assert all(name in str(error.value) for name in named)


def test_misshapen_weights_may_not_be_waved_through(tmp_path):
    random_network().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="ignore_mismatched_sizes"):
        NextDiT.from_pretrained(tmp_path, ignore_mismatched_sizes=True)


def test_an_unknown_argument_is_refused(tmp_path):
    random_network().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'attn_softcap'"):
        NextDiT.from_pretrained(tmp_path, attn_soft_cap=None)


def test_a_folder_without_a_network_is_a_clear_error(tmp_path):
    with pytest.raises(ConfigError, match="released layout"):
        NextDiT.from_pretrained(tmp_path)
