"""Where pretrained weights lie on this machine, and the locks by which processes take turns there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from onegen.errors import ConfigError
from onegen.storage.lock import lock

MODELS = "ONEGEN_MODELS"
"""Environment variable with the model folder."""


def models_folder() -> Path:
    """Return the model folder: `ONEGEN_MODELS`, else `onegen/models` in the user's cache directory."""
    chosen = os.environ.get(MODELS)
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("onegen")) / "models"


@contextmanager
def locked(root: Path, name: str) -> Iterator[None]:
    """Hold the lock of one model in the folder `root`; other processes of this machine wait.

    Raises ConfigError where the folder cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / f".{name}.lock").open("w")
    except OSError as error:
        raise ConfigError(
            f"model folder must be writable, got {root} ({error.strerror}). Set {MODELS} to another."
        ) from None
    with file:
        lock(file.fileno())
        yield
