"""`--device` and `--dtype`: asked of this machine before a model is loaded, and what to do where they do not suffice.

Torch is imported when they are asked.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from onegen.errors import ConfigError

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")


def find_dtype(name: str) -> "torch.dtype":
    """Return the type a model's weights are loaded in. Raises ConfigError for one that is not in DTYPES."""
    if name not in DTYPES:
        raise ConfigError(f"--dtype must be one of {', '.join(DTYPES)}, got {name!r}.")
    import torch

    dtype: torch.dtype = getattr(torch, name)
    return dtype


def find_device(name: str) -> "torch.device":
    """Return the device called `cpu`, `cuda`, `cuda:N` or `mps`. Raises ConfigError unless this machine has it."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"--device must be cpu, cuda, cuda:N or mps, got {name!r}.") from None
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    available = counts.get(device.type, 0)
    if (device.index or 0) >= available:
        raise ConfigError(
            f"--device {name} must be present, this machine has {available} of {device.type}. Use --device cpu."
        )
    return device


@contextmanager
def memory_explained(device: str) -> Iterator[None]:
    """Turn memory that runs out inside into a ConfigError that says what takes less of it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        from onegen.model.checkpoint import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        reason = (str(error).splitlines() or ["no more memory"])[0]
        raise ConfigError(
            f"memory of {device} must hold the model and what it draws, and does not: {reason} "
            f"Use --dtype bfloat16, a smaller --height and --width, or --num-images 1."
        ) from error
