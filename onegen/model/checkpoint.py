"""Strict loading of checkpoints: what diffusers and transformers only warn about is an error here.

A network with a few freshly initialised or not-a-number weights runs and gives noise; nothing else tells the user why.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from safetensors import SafetensorError

from onegen.errors import ConfigError, nearest

_UNREADABLE = (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError, SafetensorError)
"""What the libraries raise for configurations that are no JSON or of another shape, and for cut weights."""


@dataclass(frozen=True, slots=True)
class Loading:
    """How the weights of a model folder are read, for every part of it; named as in diffusers.

    `variant` picks the files `....VARIANT.safetensors`. `use_safetensors` True refuses pickled weights, None prefers
    safetensors. `device_map` is the device that weights are read to, without a stay in the memory of the CPU.
    `low_cpu_mem_usage` False makes modules with weights of their own before it reads others into them; None leaves it
    to the library, as transformers always does.
    """

    variant: str | None = None
    use_safetensors: bool | None = None
    device_map: str | torch.device | None = None
    low_cpu_mem_usage: bool | None = None

    def __post_init__(self) -> None:
        if self.device_map in ("auto", "balanced", "balanced_low_0", "sequential") or isinstance(self.device_map, dict):
            raise ConfigError(
                f"device_map must be one device, such as cuda or cuda:1, got {self.device_map!r}. A network that does "
                f"not fit on it: load without device_map and call enable_model_cpu_offload()."
            )

    def arguments(self, library: Literal["diffusers", "transformers"], dtype: torch.dtype) -> dict[str, Any]:
        """Return the arguments of that library's `from_pretrained` for weights of `dtype`; what is None is left out."""
        options = {
            "torch_dtype" if library == "diffusers" else "dtype": dtype,
            "variant": self.variant,
            "use_safetensors": self.use_safetensors,
            "device_map": None if self.device_map is None else {"": torch.device(self.device_map)},
            "low_cpu_mem_usage": self.low_cpu_mem_usage if library == "diffusers" else None,
        }
        return {name: option for name, option in options.items() if option is not None}


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
    with readable(f"network at {path} must be a folder or hub id in the released layout"):
        model, info = load(path, **{**arguments, "output_loading_info": True})
    check_loaded(f"network at {path}", model, info)
    return (model, info) if wants_info else model


@contextmanager
def readable(rule: str) -> Iterator[None]:
    """Turn what diffusers, transformers and safetensors raise for files they cannot read into a ConfigError.

    `rule` opens the message: what must load, and from where. Memory that ran out is no fault of the files and passes.
    """
    try:
        yield
    except _UNREADABLE as error:
        if is_out_of_memory(error):
            raise
        raise ConfigError(
            f"{rule}, and is not: {error} If the path is right, its files are incomplete or damaged: fetch them again."
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error of Python or torch, on any device, tells that memory ran out."""
    text = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("DefaultCPUAllocator" in text or "out of memory" in text)
    )


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
    if tensor.is_meta or not tensor.is_floating_point():
        return True
    values = tensor.float() if tensor.itemsize == 1 else tensor  # of 8-bit floats torch cannot ask
    return bool(torch.isfinite(values).all())


def _shorten(names: Sequence[str], limit: int = 20) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
