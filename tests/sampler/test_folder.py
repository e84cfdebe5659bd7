"""The released layout: written, read back, and refused when something in it is wrong."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from onegen.errors import ConfigError
from onegen.sampler import OneDiffusionPipeline
from onegen.sampler.folder import PARTS
from onegen.sampler.tiny import random_pipeline

pytestmark = pytest.mark.torch

WEIGHTS = {
    "transformer": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}


@pytest.fixture
def copy(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "model")


def change(folder, part, edit):
    file = folder / part / WEIGHTS[part]
    state = load_file(file)
    edit(state)
    save_file(state, file, metadata={"format": "pt"})


def test_the_layout_is_the_released_one(model_folder):
    assert sorted(path.name for path in model_folder.iterdir()) == ["model_index.json", *sorted(PARTS)]
    index = json.loads((model_folder / "model_index.json").read_text())
    assert index == {
        "_class_name": "OneDiffusionPipeline",
        "_diffusers_version": index["_diffusers_version"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5Tokenizer"],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def test_a_pipeline_read_back_draws_the_same_image(model_folder, pipe):
    options = {"height": 64, "width": 64, "num_inference_steps": 2, "output_type": "pt"}
    first, second = (
        each("text2image", prompt="a bay", generator=torch.Generator().manual_seed(1), **options).images
        for each in (random_pipeline(), pipe)
    )
    assert torch.equal(first, second)


def test_the_extra_keys_of_the_released_config_are_ignored(copy, pipe):
    file = copy / "transformer" / "config.json"
    config = json.loads(file.read_text())
    config |= {"decay": 0.9999, "use_ema_warmup": False, "optimization_step": 8000, "remat_block": "", "power": 0.6667}
    config.pop("attn_softcap")
    file.write_text(json.dumps(config))
    loaded = OneDiffusionPipeline.from_pretrained(str(copy))
    assert loaded.transformer.config.attn_softcap == 30.0
    for name, tensor in pipe.transformer.state_dict().items():
        assert torch.equal(loaded.transformer.state_dict()[name], tensor)


@pytest.mark.parametrize("part", WEIGHTS)
@pytest.mark.parametrize("damage", ["lost", "stray", "nan"])
def test_damaged_weights_are_refused_by_name(copy, part, damage):
    key = sorted(load_file(copy / part / WEIGHTS[part]))[0]
    if damage == "lost":
        change(copy, part, lambda state: state.pop(key))
    elif damage == "stray":
        change(copy, part, lambda state: state.update(stray_key=torch.zeros(2)))
    else:
        change(copy, part, lambda state: state[key].fill_(torch.nan))
    with pytest.raises(ConfigError, match="stray_key" if damage == "stray" else key.replace(".", r"\.")):
        OneDiffusionPipeline.from_pretrained(str(copy))


@pytest.mark.parametrize(
    "name",
    [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ],
)
@pytest.mark.parametrize("content", ["", "[]", "no JSON"])
def test_a_broken_file_is_a_message_and_what_to_do(copy, name, content):
    (copy / name).write_text(content)
    with pytest.raises(ConfigError, match=r"fetch them again|Download it again"):
        OneDiffusionPipeline.from_pretrained(str(copy))


def test_a_tokenizer_without_padding_is_refused(copy):
    (copy / "tokenizer" / "tokenizer_config.json").unlink()
    with pytest.raises(ConfigError, match="must have a padding token, got none"):
        OneDiffusionPipeline.from_pretrained(str(copy))


def test_a_variant_is_read_from_its_files(copy, pipe):
    with pytest.raises(ConfigError, match="variant"):
        OneDiffusionPipeline.from_pretrained(str(copy), variant="fp16")
    for part, name in WEIGHTS.items():
        file = copy / part / name
        file.rename(file.with_name(name.replace(".safetensors", ".fp16.safetensors")))
    loaded = OneDiffusionPipeline.from_pretrained(str(copy), variant="fp16", use_safetensors=True)
    assert torch.equal(loaded.transformer.x_embedder.weight, pipe.transformer.x_embedder.weight)


def test_pickled_weights_are_read_only_where_they_are_not_refused(copy):
    file = copy / "transformer" / WEIGHTS["transformer"]
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()
    OneDiffusionPipeline.from_pretrained(str(copy), use_safetensors=None)
    with pytest.raises(ConfigError, match="safetensors"):
        OneDiffusionPipeline.from_pretrained(str(copy), use_safetensors=True)


@pytest.mark.parametrize("options", [{"device_map": "cpu"}, {"low_cpu_mem_usage": False}, {"low_cpu_mem_usage": True}])
def test_ways_to_load_give_the_same_weights(copy, pipe, options):
    loaded = OneDiffusionPipeline.from_pretrained(str(copy), torch_dtype=torch.bfloat16, **options)
    for part in WEIGHTS:
        expected = getattr(pipe, part).state_dict()
        for name, tensor in getattr(loaded, part).state_dict().items():
            assert torch.equal(tensor, expected[name].to(torch.bfloat16))


def test_a_device_map_over_several_devices_is_refused(model_folder):
    for device_map in ("balanced", {"transformer": "cuda"}):
        with pytest.raises(ConfigError, match=r"must be one device, .* enable_model_cpu_offload"):
            OneDiffusionPipeline.from_pretrained(str(model_folder), device_map=device_map)


@pytest.mark.parametrize("name", ["model_index.json", "vae", "tokenizer"])
def test_a_missing_part_is_named(copy, name):
    path = copy / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ConfigError, match=f"lacks {name}"):
        OneDiffusionPipeline.from_pretrained(str(copy))


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ({"_class_name": "FluxPipeline"}, "must be of OneDiffusionPipeline, got 'FluxPipeline'"),
        ({"vae": ["diffusers", "AutoencoderDC"]}, "must be AutoencoderKL or PixelShuffleCodec, got 'AutoencoderDC'"),
        ({"text_encoder": ["transformers", "CLIPTextModel"]}, "must be T5EncoderModel or MiniLM"),
        ({"vae": None}, "must name library and class of vae"),
    ],
)
def test_another_pipeline_is_refused(copy, edit, says):
    file = copy / "model_index.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | edit))
    with pytest.raises(ConfigError, match=says):
        OneDiffusionPipeline.from_pretrained(str(copy))


@pytest.mark.parametrize("source", ["/no/such/folder", "./absent", "onlyaname"])
def test_what_is_neither_folder_nor_hub_id_is_refused(source):
    with pytest.raises(ConfigError, match="must be a folder or a hub id"):
        OneDiffusionPipeline.from_pretrained(source)


def test_a_hub_id_that_is_not_cached_is_refused_offline(tmp_path):
    with pytest.raises(ConfigError, match="must be a folder or downloadable"):
        OneDiffusionPipeline.from_pretrained("nobody/nothing", cache_dir=str(tmp_path), local_files_only=True)


def test_the_embedded_encoders_live_in_the_same_layout(tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.processors import TemplateProcessing

    from onegen.model.codec import PixelShuffleCodec
    from onegen.model.encoders import wordpiece_tokenizer
    from onegen.model.minilm import MiniLM
    from onegen.model.nextdit import NextDiT

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = Tokenizer(WordPiece({word: index for index, word in enumerate([*special, "a", "bay"])}, unk_token="[UNK]"))
    words.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    words.enable_truncation(4)
    words.save(str(tmp_path / "tokenizer.json"))
    network = NextDiT(
        input_size=(1, 8, 8), in_channels=192, hidden_size=48, depth=1, num_heads=2, num_kv_heads=1, caption_channels=24
    )
    written = OneDiffusionPipeline(
        transformer=network,
        vae=PixelShuffleCodec(),
        text_encoder=MiniLM(7, 24, 1, 2, 48).eval(),
        tokenizer=wordpiece_tokenizer(tmp_path / "tokenizer.json"),
        scheduler=random_pipeline().scheduler,
    )
    written.save_pretrained(tmp_path / "model")
    read = OneDiffusionPipeline.from_pretrained(str(tmp_path / "model"))
    assert type(read.vae) is PixelShuffleCodec
    images = [
        each("text2image", prompt="a bay", num_inference_steps=2, generator=torch.Generator().manual_seed(0),
             output_type="pt").images for each in (written, read)
    ]  # fmt: skip
    assert torch.equal(*images)
