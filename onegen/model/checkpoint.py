"""Strict loading of checkpoints: what diffusers and transformers only warn about is an error here.

A network with a few freshly initialised or not-a-number weights runs and gives noise; nothing else tells the user why.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch

from onegen.errors import ConfigError, nearest

Model = TypeVar("Model", bound=torch.nn.Module)

# the keyword arguments of diffusers' ModelMixin.from_pretrained, which takes any and drops what it does not know
_LOADING_ARGUMENTS = (
    "cache_dir",
    "device_map",
    "disable_mmap",
    "dtype",
    "force_download",
    "local_files_only",
    "low_cpu_mem_usage",
    "max_memory",
    "offload_folder",
    "offload_state_dict",
    "output_loading_info",
    "proxies",
    "quantization_config",
    "revision",
    "subfolder",
    "token",
    "torch_dtype",
    "use_safetensors",
    "variant",
)


def load_checked(model_class: type[Model], load: Callable[..., Any], path: str, arguments: dict[str, Any]) -> Any:
    """Return the network `load` reads from `path`, with its loading info when `output_loading_info` asks for it.

    `load` and `arguments` are those of diffusers' `from_pretrained`. Raises ConfigError for an unknown argument, for a
    folder that cannot be read, and as `check_loaded` does.
    """
    own = [name for name in inspect.signature(model_class.__init__).parameters if name != "self"]
    known = [*_LOADING_ARGUMENTS, *own]
    for name in arguments:
        if name not in known:
            raise ConfigError(f"argument of from_pretrained must be a known one, got {name!r}; {nearest(name, known)}")
    wants_info = bool(arguments.get("output_loading_info", False))
    try:
        model, info = load(path, **{**arguments, "output_loading_info": True})
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"network at {path} must be a folder or hub id in the released layout: {error}") from error
    check_loaded(f"network at {path}", model, info)
    return (model, info) if wants_info else model


def check_loaded(what: str, module: torch.nn.Module, info: Mapping[str, Any]) -> None:
    """Raise ConfigError unless a checkpoint had just the weights of its module, and all of them finite.

    `what` names the checkpoint in the message; `info` is the loading info of diffusers or transformers, with
    `missing_keys`, `unexpected_keys` and `mismatched_keys` (name, shape in the file, shape in the module). The message
    lists the weights at fault, at most 20 of each kind.
    """
    misshapen = [f"{key} {tuple(got)} instead of {tuple(needed)}" for key, got, needed in info["mismatched_keys"]]
    faults = [
        f"{fault} {_shorten(sorted(names))}"
        for fault, names in (
            ("lacks", info["missing_keys"]),
            ("has extra", info["unexpected_keys"]),
            ("has misshapen", misshapen),
        )
        if names
    ]
    if faults:
        raise ConfigError(
            f"{what} must have exactly the weights of the {type(module).__name__} its config.json describes: "
            f"it {'; '.join(faults)}. Check that config and weights belong together."
        )
    broken = [name for name, tensor in module.state_dict().items() if not _is_finite(tensor)]
    if broken:
        raise ConfigError(
            f"{what} must have finite weights, got NaN or infinity in {_shorten(broken)}. Use another checkpoint."
        )


def _is_finite(tensor: torch.Tensor) -> bool:
    # a tensor on the meta device has no values yet: it was left to whoever places the parts of a large network
    return tensor.is_meta or not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _shorten(names: Sequence[str], limit: int = 20) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
