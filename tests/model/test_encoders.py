"""Encoders: a codec that loses nothing, MiniLM against transformers' BERT, the 300-token rule, damaged checkpoints."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from onegen.errors import ConfigError
from onegen.model.codec import PixelShuffleCodec
from onegen.model.encoders import (
    codec_factor,
    decode_latents,
    encode_images,
    encode_prompts,
    load_codec,
    load_text_encoder,
    text_width,
    wordpiece_tokenizer,
)
from onegen.model.minilm import TOKENIZER, WEIGHTS, MiniLM, rename
from onegen.weights.fetch import PackagedFile

pytestmark = pytest.mark.torch


def published(file: PackagedFile) -> Path:
    """Return where a file of MiniLM's package is, or skip when it was not fetched."""
    try:
        return file.path()
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture
def t5(tmp_path):
    """A T5 encoder of random weights in the released folder layout, one token per character."""
    letters = "abcdefghijklmnopqrstuvwxyz[]>#0123456789.,:"
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -1.0), *((letter, -2.0) for letter in letters)]
    tokenizer = T5Tokenizer(vocab=vocabulary, extra_ids=0)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=64, d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=3, feed_forward_proj="gated-gelu"
    )
    T5EncoderModel(config).save_pretrained(tmp_path / "text_encoder")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    return tmp_path


@pytest.fixture
def vae(tmp_path):
    """An SD3-like autoencoder of random weights: 16 channels, 8 times down."""
    torch.manual_seed(0)
    codec = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[8, 8, 8, 8],
        norm_num_groups=4,
        latent_channels=16,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=1.5305,
        shift_factor=0.0609,
    )
    codec.save_pretrained(tmp_path / "vae")
    return tmp_path


def test_the_embedded_codec_loses_nothing():
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 32, 48), dtype=np.uint8))
    every = torch.arange(256, dtype=torch.uint8).repeat(3)[: 3 * 16 * 16].reshape(1, 3, 16, 16)
    codec = PixelShuffleCodec()
    for image in (pixels, every):
        latents = encode_images(codec, image.float() / 127.5 - 1).sample() * codec.config.scaling_factor
        assert latents.shape == (image.shape[0], 192, image.shape[2] // 8, image.shape[3] // 8)
        assert torch.equal((decode_latents(codec, latents) * 255).round().to(torch.uint8), image)


def test_a_latent_pixel_of_the_embedded_codec_is_its_square_of_the_image():
    image = torch.zeros(1, 3, 16, 16)
    image[0, :, 8:, :8] = 1
    latents = PixelShuffleCodec().encode(image).latent_dist.sample()
    assert latents[0, :, 1, 0].tolist() == [1.0] * 192
    assert latents.sum() == 192


def test_the_embedded_codec_is_saved_and_draws_nothing(tmp_path):
    PixelShuffleCodec(4, 48, 1.0).save_pretrained(tmp_path)
    codec = PixelShuffleCodec.from_pretrained(tmp_path)
    assert (codec_factor(codec), codec.config.latent_channels, codec.config.scaling_factor) == (4, 48, 1.0)
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    encode_images(codec, torch.zeros(1, 3, 8, 8)).sample(generator)
    assert torch.equal(generator.get_state(), before)
    with pytest.raises(ValueError, match="192"):
        PixelShuffleCodec(8, 16)


def test_the_autoencoder_scales_and_never_shifts(vae):
    codec = load_codec("sd3-vae", str(vae))
    assert codec_factor(codec) == 8
    latents = torch.randn(1, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = (codec.decode(latents / 1.5305).sample / 2 + 0.5).clamp(0, 1)
        torch.testing.assert_close(decode_latents(codec, latents), expected, rtol=0, atol=0)


def test_conditions_are_drawn_from_the_posterior(vae):
    codec = load_codec("sd3-vae", str(vae))
    with torch.no_grad():
        posterior = encode_images(codec, torch.zeros(1, 3, 32, 32))
    first, again, other = (posterior.sample(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_t5_reads_the_released_layout(t5):
    encoder, tokenizer = load_text_encoder("t5", str(t5))
    assert text_width(encoder) == 24
    states, mask = encode_prompts(tokenizer, encoder, ["abc", ""])
    assert states.shape == (2, 5, 24)  # the space before the word, three letters, the end
    assert mask.tolist() == [[1, 1, 1, 1, 1], [1, 0, 0, 0, 0]]  # an empty prompt is its end token
    assert states.dtype == torch.float32


def test_padding_to_the_longest_prompt_is_padding_to_300(t5):
    encoder, tokenizer = load_text_encoder("t5", str(t5))
    states, mask = encode_prompts(tokenizer, encoder, ["a cat", "a longer prompt about a cat"])
    padded = tokenizer(["a cat"], padding="max_length", max_length=300, return_tensors="pt")
    with torch.no_grad():
        released = encoder(padded["input_ids"], attention_mask=padded["attention_mask"])[0]
    real = int(mask[0].sum())
    torch.testing.assert_close(states[0, :real], released[0, :real], atol=1e-5, rtol=1e-5)


def test_half_precision_text_is_returned_as_float32(t5):
    encoder, tokenizer = load_text_encoder("t5", str(t5), torch.bfloat16)
    assert encode_prompts(tokenizer, encoder, ["abc"])[0].dtype == torch.float32


def test_a_prompt_over_300_tokens_is_cut_and_the_lost_words_are_named(t5):
    encoder, tokenizer = load_text_encoder("t5", str(t5))
    prompt = "a" * 290 + " kept and lost words"
    with pytest.warns(UserWarning, match=r"at most 300 tokens, got 3\d\d. These words are lost: .*lost words'"):
        states, mask = encode_prompts(tokenizer, encoder, [prompt])
    assert mask.sum() == 300
    kept, _ = encode_prompts(tokenizer, encoder, ["a" * 290 + " kept an"])
    assert kept.shape[1] == 300  # 1 + 290 + 1 + 7 letters and the end token: exactly what remains
    torch.testing.assert_close(states, kept)


def test_a_prompt_of_exactly_300_tokens_warns_of_nothing(t5, recwarn):
    encoder, tokenizer = load_text_encoder("t5", str(t5))
    encode_prompts(tokenizer, encoder, ["a" * 298])
    assert not [warning for warning in recwarn if "tokens" in str(warning.message)]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda state: state.pop("encoder.conv_in.weight"), "lacks encoder.conv_in.weight"),
        (lambda state: state.update(stray=torch.zeros(1)), "has extra stray"),
        (lambda state: state["encoder.conv_in.bias"].fill_(torch.nan), "NaN or infinity in encoder.conv_in.bias"),
    ],
)
def test_a_damaged_codec_is_refused(vae, damage, says):
    file = vae / "vae" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    damage(state)
    save_file(state, file)
    with pytest.raises(ConfigError, match=says):
        load_codec("sd3-vae", str(vae))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda state: state.pop("encoder.block.0.layer.0.SelfAttention.q.weight"), r"lacks .*SelfAttention\.q"),
        (lambda state: state.update(stray=torch.zeros(1)), "has extra stray"),
        (lambda state: state["encoder.final_layer_norm.weight"].fill_(torch.inf), "NaN or infinity in encoder.final"),
    ],
)
def test_a_damaged_text_encoder_is_refused(t5, damage, says):
    file = t5 / "text_encoder" / "model.safetensors"
    state = load_file(file)
    damage(state)
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=says):
        load_text_encoder("t5", str(t5))


def test_a_sentencepiece_tokenizer_without_sentencepiece_names_the_package(t5, monkeypatch):
    (t5 / "tokenizer" / "tokenizer.json").unlink()
    (t5 / "tokenizer" / "spiece.model").write_bytes(b"what the released folder has")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(ConfigError, match="pip install sentencepiece protobuf"):
        load_text_encoder("t5", str(t5))


@pytest.mark.parametrize("name", ["tokenizer.json", "spiece.model"])
def test_a_tokenizer_without_its_vocabulary_is_refused(t5, name):
    # what transformers makes of such a folder has four entries, and reads every prompt as unknown words
    (t5 / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match=rf"tokenizer must have a vocabulary, got 4 entries .* Put its .*{name}"):
        load_text_encoder("t5", str(t5))


def test_special_tokens_alone_are_no_vocabulary(t5):
    T5Tokenizer(extra_ids=50).save_pretrained(t5 / "tokenizer")
    with pytest.raises(ConfigError, match="and no word among them"):
        load_text_encoder("t5", str(t5))


def test_a_tokenizer_of_a_larger_model_is_refused(t5):
    letters = [(chr(code), -2.0) for code in range(97, 197)]
    T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *letters], extra_ids=0).save_pretrained(
        t5 / "tokenizer"
    )
    with pytest.raises(ConfigError, match="at most the 64 entries of its text encoder, got 103"):
        load_text_encoder("t5", str(t5))


def test_a_full_t5_may_bring_its_decoder(t5):
    file = t5 / "text_encoder" / "model.safetensors"
    save_file({**load_file(file), "decoder.final_layer_norm.weight": torch.zeros(24)}, file, metadata={"format": "pt"})
    load_text_encoder("t5", str(t5))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: load_codec("sd3"), "codec 'sd3' is unknown; did you mean 'sd3-vae'"),
        (lambda: load_text_encoder("mini-lm"), "did you mean 'minilm'"),
        (lambda: load_codec("sd3-vae"), "must come from a folder or a hub id"),
        (lambda: load_codec("sd3-vae", "/nowhere/at/all"), "must load from '/nowhere/at/all'"),
    ],
)
def test_unknown_encoders_are_refused(call, says):
    with pytest.raises(ConfigError, match=says):
        call()


def test_minilm_equals_the_bert_of_transformers():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=90, hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96
    )
    torch.manual_seed(0)
    reference = transformers.BertModel(config).eval()
    ours = MiniLM(90, 48, 3, 4, 96).eval()
    state = {key: value for key, value in reference.state_dict().items() if "pooler" not in key}
    ours.load_state_dict(rename(state))
    ids = torch.randint(0, 90, (2, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    with torch.no_grad():
        expected = reference(ids, attention_mask=mask).last_hidden_state
        got = ours(ids, attention_mask=mask)[0]
    torch.testing.assert_close(got[mask.bool()], expected[mask.bool()], atol=1e-5, rtol=1e-5)


def test_minilm_tells_a_kitten_from_a_motorcycle():
    encoder = MiniLM()
    encoder.load_state_dict(rename(load_file(published(WEIGHTS))))
    tokenizer = wordpiece_tokenizer(published(TOKENIZER))
    texts = ["a cat sleeping on a sofa", "a kitten napping on the couch", "a man riding a motorcycle"]
    states, mask = encode_prompts(tokenizer, encoder.eval(), texts)
    pooled = torch.nn.functional.normalize((states * mask[..., None]).sum(1), dim=-1)
    kitten, motorcycle = (pooled[0] @ pooled[1:].T).tolist()
    # transformers' own BertModel gives 0.764 and -0.107 for these sentences
    assert kitten == pytest.approx(0.764, abs=2e-3)
    assert motorcycle == pytest.approx(-0.107, abs=2e-3)


def test_minilm_reads_prompts_longer_than_its_files_128_tokens():
    tokenizer = wordpiece_tokenizer(published(TOKENIZER))
    encoder = MiniLM(d_model=12, num_layers=1, num_heads=2, d_ff=12).eval()
    _, mask = encode_prompts(tokenizer, encoder, ["boat " * 200])
    assert mask.shape == (1, 202)
