"""The folder a pipeline lives in, as released: `model_index.json` beside a folder for each part.

The parts are `scheduler`, `text_encoder`, `tokenizer`, `transformer` and `vae` (docs/onediffusion.md). The embedded
encoders are kept in the same places under their own class names.
"""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from diffusers import __version__ as diffusers_version
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from onegen.errors import ConfigError
from onegen.model.checkpoint import Loading, check_loaded, readable
from onegen.model.codec import PixelShuffleCodec
from onegen.model.encoders import DEFAULT_LOADING, load_codec, load_text_encoder, load_tokenizer, place
from onegen.model.minilm import MiniLM
from onegen.model.nextdit import NextDiT

PARTS = ("scheduler", "text_encoder", "tokenizer", "transformer", "vae")
CLASS_NAME = "OneDiffusionPipeline"


def find_folder(source: str, revision: str | None, cache_dir: str | None, local_files_only: bool) -> Path:
    """Return the local folder of a folder path or hub id, downloading the latter.

    Raises ConfigError when there is none.
    """
    if Path(source).is_dir():
        return Path(source)
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise ConfigError(f"model must be a folder or a hub id such as owner/name, got {source!r}, which is neither.")
    from huggingface_hub import snapshot_download

    try:
        snapshot = snapshot_download(
            source,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            allow_patterns=["model_index.json", *(f"{part}/*" for part in PARTS)],
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"model {source!r} must be a folder or downloadable from the hub: {error}") from error
    return Path(snapshot)


def read_index(folder: Path) -> dict[str, Any]:
    """Return `model_index.json`. Raises ConfigError when it or a part is missing, or when it is another pipeline's."""
    missing = [name for name in ("model_index.json", *PARTS) if not (folder / name).exists()]
    if missing:
        raise ConfigError(f"model folder must have the released layout, {folder} lacks {', '.join(missing)}.")
    try:
        index: Any = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"model_index.json must be readable JSON, got {folder / 'model_index.json'}: {error}. Download it again."
        ) from error
    if not isinstance(index, dict):
        raise ConfigError(f"model_index.json must be an object, got {index!r:.40} in {folder}. Download it again.")
    if index.get("_class_name") != CLASS_NAME:
        raise ConfigError(f"model_index.json must be of {CLASS_NAME}, got {index.get('_class_name')!r} in {folder}.")
    return dict(index)


def read_parts(folder: Path, dtype: torch.dtype, loading: Loading = DEFAULT_LOADING) -> dict[str, Any]:
    """Return the parts of a model folder, keys and values of every checkpoint checked, in eval mode.

    Raises ConfigError naming the part that cannot be read.
    """
    index = read_index(folder)
    text_encoder, tokenizer = _read_text_encoder(folder, _class_of(index, "text_encoder"), dtype, loading)
    with _named(folder, "scheduler"):
        scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler")
    arguments = loading.arguments("diffusers", dtype)
    return {
        "scheduler": scheduler,
        "text_encoder": text_encoder,
        "tokenizer": tokenizer,
        "transformer": NextDiT.from_pretrained(str(folder / "transformer"), **arguments).eval(),
        "vae": _read_codec(folder, _class_of(index, "vae"), dtype, loading),
    }


def _named(folder: Path, part: str) -> AbstractContextManager[None]:
    return readable(f"{part} of a model must be readable in {folder / part}")


def _class_of(index: dict[str, Any], part: str) -> str:
    entry = index.get(part)
    if not (isinstance(entry, list) and len(entry) == 2):
        raise ConfigError(f"model_index.json must name library and class of {part}, got {entry!r}.")
    return str(entry[1])


def _read_codec(folder: Path, name: str, dtype: torch.dtype, loading: Loading) -> Any:
    if name == "AutoencoderKL":
        return load_codec("sd3-vae", str(folder), dtype, loading)
    if name == "PixelShuffleCodec":
        with _named(folder, "vae"):
            return place(PixelShuffleCodec.from_pretrained(folder / "vae"), dtype, loading)
    raise ConfigError(f"vae of a model must be AutoencoderKL or PixelShuffleCodec, got {name!r}.")


def _read_text_encoder(folder: Path, name: str, dtype: torch.dtype, loading: Loading) -> tuple[Any, Any]:
    if name == "T5EncoderModel":
        return load_text_encoder("t5", str(folder), dtype, loading)
    if name != "MiniLM":
        raise ConfigError(f"text_encoder of a model must be T5EncoderModel or MiniLM, got {name!r}.")
    arguments = loading.arguments("diffusers", dtype)
    with _named(folder, "text_encoder"):
        loaded: Any = MiniLM.from_pretrained(folder / "text_encoder", output_loading_info=True, **arguments)
    check_loaded(f"text encoder of {folder}", *loaded)
    return loaded[0].eval(), load_tokenizer(str(folder), "tokenizer", loaded[0])


def write_parts(folder: Path, parts: dict[str, Any]) -> None:
    """Write the parts of a pipeline and its `model_index.json`, which (as released) does not list the transformer."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PARTS:
        parts[name].save_pretrained(folder / name)
    index: dict[str, Any] = {"_class_name": CLASS_NAME, "_diffusers_version": diffusers_version}
    for name in PARTS:
        cls = type(parts[name])
        library = cls.__module__ if cls.__module__.startswith("onegen.") else cls.__module__.split(".")[0]
        if name != "transformer":
            index[name] = [library, cls.__name__]
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
