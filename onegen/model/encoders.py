"""What stands before and behind the network: the image codec and the text encoder, loaded and called in one way.

| name | class | latent or width | weights |
|---|---|---|---|
| `sd3-vae` | diffusers `AutoencoderKL` | 16 channels | a local folder or the hub |
| `pixel-shuffle` | `PixelShuffleCodec` | 192 channels, lossless | none |
| `t5` | transformers `T5EncoderModel` | 2048 for XL | a local folder or the hub |
| `minilm` | `MiniLM` | 384 | a pinned package, `onegen models fetch` |

Text follows the released model (docs/onediffusion.md): special tokens, at most 300 tokens, states cast to float32. So
do images: a sample of the posterior times the scaling factor; the SD3 autoencoder's shift is applied in neither
direction.
"""

import importlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from onegen.errors import ConfigError, nearest
from onegen.model.checkpoint import Loading, check_loaded, readable
from onegen.model.codec import PixelShuffleCodec
from onegen.model.minilm import TOKENIZER, MiniLM

MAX_TOKENS = 300
"""Longest prompt the released model reads, end token included (its config says 512, its pipeline truncates here)."""

DEFAULT_LOADING = Loading()
"""The files without a variant, into the memory of the CPU."""

Placed = TypeVar("Placed", bound=nn.Module)

CODECS = ("sd3-vae", "pixel-shuffle")
TEXT_ENCODERS = ("t5", "minilm")


class Posterior(Protocol):
    """The distribution of latents an image is encoded to."""

    def sample(self, generator: torch.Generator | None = None) -> torch.Tensor:
        """Return one draw, (n, channels, h, w)."""
        ...


def load_codec(
    name: str,
    source: str = "",
    dtype: torch.dtype = torch.float32,
    loading: Loading = DEFAULT_LOADING,
    downscale: int = 8,
) -> nn.Module:
    """Return a codec by its name in the table, with weights of `dtype`, read as `loading` says.

    `source` is a folder or hub id, with a subfolder `vae` or the codec itself; `pixel-shuffle` needs none, and is the
    one that `downscale` is for. Raises ConfigError for an unknown name, a missing source, or weights that are missing,
    extra, misshapen or not finite.
    """
    if name == "pixel-shuffle":
        return place(PixelShuffleCodec(downscale, 3 * downscale**2), dtype, loading)
    if name != "sd3-vae":
        raise ConfigError(f"codec {name!r} is unknown; {nearest(name, list(CODECS))}")
    from diffusers import AutoencoderKL

    options: dict[str, Any] = {**loading.arguments("diffusers", dtype), "output_loading_info": True}
    if _has_subfolder(source, "vae"):
        options["subfolder"] = "vae"
    codec, info = _load(AutoencoderKL, source, **options)
    check_loaded(f"codec of {source}", codec, info)
    return codec.eval()


def place(module: Placed, dtype: torch.dtype, loading: Loading) -> Placed:
    """Return a module that brought its own weights in `dtype` and on the device of `loading`."""
    return module.to(loading.device_map or "cpu", dtype)


def load_text_encoder(
    name: str, source: str = "", dtype: torch.dtype = torch.float32, loading: Loading = DEFAULT_LOADING
) -> tuple[nn.Module, Any]:
    """Return (text encoder with weights of `dtype`, its tokenizer) by its name in the table; see `load_codec`.

    `source` is a folder or hub id for `t5`, unused for `minilm`. Raises ConfigError as `load_codec` and
    `load_tokenizer` do.
    """
    if name == "minilm":
        return place(MiniLM.from_package(), dtype, loading), minilm_tokenizer()
    if name != "t5":
        raise ConfigError(f"text encoder {name!r} is unknown; {nearest(name, list(TEXT_ENCODERS))}")
    from transformers import T5EncoderModel

    released = _has_subfolder(source, "text_encoder")
    options: dict[str, Any] = {**loading.arguments("transformers", dtype), "output_loading_info": True}
    if released:
        options["subfolder"] = "text_encoder"
    encoder, info = _load(T5EncoderModel, source, **options)
    # a full T5 brings its decoder; that is not an error here
    info = {
        **info,
        "unexpected_keys": [k for k in info["unexpected_keys"] if not k.startswith(("decoder.", "lm_head."))],
    }
    check_loaded(f"text encoder of {source}", encoder, info)
    return encoder.eval(), load_tokenizer(source, "tokenizer" if released else "", encoder)


def load_tokenizer(source: str, subfolder: str, text_encoder: nn.Module) -> Any:
    """Return the tokenizer in a subfolder of a folder or hub id, checked against its text encoder.

    Raises ConfigError when it does not load, and as `check_tokenizer` does.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = _load(AutoTokenizer, source, subfolder=subfolder)
    except ConfigError as error:
        # without these two packages transformers asks for a third one that would not help
        lacking = [name for name in ("sentencepiece", "google.protobuf") if not _is_installed(name)]
        if not lacking:
            raise
        raise ConfigError(
            f"tokenizer of {source!r} must be read with sentencepiece and protobuf, and {lacking[0]} is not installed. "
            f"Run pip install sentencepiece protobuf."
        ) from error
    check_tokenizer(tokenizer, text_encoder, str(Path(source, subfolder)))
    return tokenizer


def check_tokenizer(tokenizer: Any, text_encoder: nn.Module, source: str) -> None:
    """Raise ConfigError for a tokenizer without words or padding, or with more entries than its encoder has embeddings.

    transformers makes an empty T5 of a folder without its vocabulary: every word of every prompt is then unknown, and
    the model draws whatever it likes.
    """
    special = set(tokenizer.all_special_tokens)
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    if not any(letter.isalpha() for piece in vocabulary.keys() - special for letter in piece):
        raise ConfigError(
            f"tokenizer of {source} must have a vocabulary, got {len(vocabulary)} entries and no word among them. "
            f"Put its tokenizer.json, or its spiece.model (T5), back into the folder."
        )
    if tokenizer.pad_token is None:
        raise ConfigError(
            f"tokenizer of {source} must have a padding token, got none. Put its tokenizer_config.json back."
        )
    config: Any = text_encoder.config
    if max(vocabulary.values()) >= config.vocab_size:
        raise ConfigError(
            f"tokenizer of {source} must have at most the {config.vocab_size} entries of its text encoder, "
            f"got {max(vocabulary.values()) + 1}. Use the tokenizer that the text encoder was trained with."
        )


def _is_installed(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def minilm_tokenizer() -> Any:
    """Return the tokenizer of `MiniLM` as transformers' fast tokenizer. Raises ConfigError when it was not fetched."""
    return wordpiece_tokenizer(TOKENIZER.path())


def wordpiece_tokenizer(path: Path) -> Any:
    """Return a BERT tokenizer.json as transformers' fast tokenizer, without the truncation to 128 saved in the file."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=512,
    )


def _has_subfolder(source: str, name: str) -> bool:
    if not source:
        raise ConfigError("weights must come from a folder or a hub id, got none. Name one.")
    return Path(source, name).is_dir() or not Path(source).exists()


def _load(cls: Any, source: str, **options: Any) -> Any:
    """Return `cls.from_pretrained(source)`, network and file errors turned into ConfigError."""
    with readable(f"{cls.__name__} must load from {source!r}"):
        return cls.from_pretrained(source, **options)


def encode_prompts(
    tokenizer: Any, text_encoder: nn.Module, prompts: Sequence[str], max_tokens: int = MAX_TOKENS
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the states (n, L, width) float32 and the mask (n, L) of prompts, L being the longest prompt's tokens.

    Padding to 300 instead, as the released pipeline does, changes nothing but the time it takes: padding is masked
    everywhere. Warns with the words that are lost when a prompt has more than `max_tokens`.
    """
    encoded = tokenizer(list(prompts), return_offsets_mapping=True, verbose=False)
    for prompt, ids, offsets in zip(prompts, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        if len(ids) > max_tokens:
            lost = prompt[offsets[max_tokens - 1][0] :]
            warnings.warn(
                f"prompt must have at most {max_tokens} tokens, got {len(ids)}. "
                f"These words are lost: {lost!r}. Shorten it, or put them first.",
                stacklevel=2,
            )
    batch = tokenizer(list(prompts), padding="longest", truncation=True, max_length=max_tokens, return_tensors="pt")
    mask = batch["attention_mask"]
    device = next(text_encoder.parameters()).device
    with torch.no_grad():
        states = text_encoder(batch["input_ids"].to(device), attention_mask=mask.to(device))[0]
    check_finite("text states", states[mask.to(device) != 0], states.dtype)
    return states.float(), mask


def check_finite(what: str, values: torch.Tensor, dtype: torch.dtype) -> None:
    """Raise ConfigError for NaN or infinity among values computed in `dtype`: what follows would be a black picture."""
    if not bool(torch.isfinite(values).all()):
        raise ConfigError(
            f"{what} must be finite, got NaN or infinity in {dtype}. "
            f"Use float32, or bfloat16 (--dtype, torch_dtype=): float16 overflows where they do not."
        )


def text_width(text_encoder: nn.Module) -> int:
    """Return the width of the encoder's states: the network's `caption_channels`."""
    config: Any = text_encoder.config
    return int(config.d_model)


def codec_factor(codec: nn.Module) -> int:
    """Return how many image pixels a side of one latent pixel covers."""
    config: Any = codec.config
    if isinstance(codec, PixelShuffleCodec):
        return codec.downscale
    return int(2 ** (len(config.block_out_channels) - 1))


def encode_images(codec: Any, pixels: torch.Tensor) -> Posterior:
    """Return the posterior of images (n, 3, h, w) in [-1, 1], on the codec's device.

    Multiply its draws with `codec.config.scaling_factor`.
    """
    posterior: Posterior = codec.encode(pixels.to(codec.dtype)).latent_dist
    return posterior


def decode_latents(codec: Any, latents: torch.Tensor) -> torch.Tensor:
    """Return images (n, 3, h, w) float32 in [0, 1] of scaled latents (n, channels, h, w), on the codec's device.

    Raises ConfigError when they are not finite.
    """
    pixels = codec.decode((latents / codec.config.scaling_factor).to(codec.dtype)).sample
    check_finite("decoded images", pixels, codec.dtype)
    return (pixels.float() / 2 + 0.5).clamp(0, 1)
