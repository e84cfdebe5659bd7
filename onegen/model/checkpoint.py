"""Strict loading of a network folder (spec 5.1, 5.2): what diffusers only warns about is an error here.

A network with a few freshly initialised or not-a-number weights runs and gives noise; nothing else tells the user why.
"""

import inspect
from collections.abc import Callable
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
    """Return the network `load` reads from `path`, with its loading info when asked for; see
    `NextDiT.from_pretrained`.
    """
    known = [
        *_LOADING_ARGUMENTS,
        *(name for name in inspect.signature(model_class.__init__).parameters if name != "self"),
    ]
    for name in arguments:
        if name not in known:
            raise ConfigError(f"argument of from_pretrained must be a known one, got {name!r}; {nearest(name, known)}")
    wants_info = bool(arguments.get("output_loading_info", False))
    try:
        model, info = load(path, **{**arguments, "output_loading_info": True})
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"network at {path} must be a folder or hub id in the released layout: {error}") from error
    _check_keys(path, info)
    _check_finite(path, model)
    return (model, info) if wants_info else model


def _check_keys(path: str, info: dict[str, Any]) -> None:
    missing, extra = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    misshapen = sorted(
        f"{key} {tuple(found)} instead of {tuple(wanted)}" for key, found, wanted in info["mismatched_keys"]
    )
    if missing or extra or misshapen:
        found = [
            f"{what} {', '.join(names)}"
            for what, names in (("missing:", missing), ("extra:", extra), ("misshapen:", misshapen))
            if names
        ]
        raise ConfigError(
            f"weights at {path} must be those of the network its config.json describes, got {'; '.join(found)}. "
            f"Check that config and weights belong together."
        )


def _check_finite(path: str, model: torch.nn.Module) -> None:
    bad = [
        name
        for name, tensor in model.state_dict().items()
        if not tensor.is_meta and tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]
    if bad:
        raise ConfigError(
            f"weights at {path} must be finite, got NaN or infinity in {', '.join(bad)}. Use another checkpoint."
        )
