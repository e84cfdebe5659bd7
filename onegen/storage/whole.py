"""A local file or folder under its name whole or not at all, for what is no dataset: tables, photos, exports."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from onegen.errors import ConfigError
from onegen.storage.lock import try_lock


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a name beside `path` to write to, with the same extension; it becomes `path` when the block ends well.

    Replaces what was there. Where the block raises, `path` stays as it was and the other name is removed.
    """
    part = path.with_name(f".part-{path.name}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a new folder beside `path` to write to; it becomes `path` when the block ends well, else it is removed.

    Raises ConfigError where `path` is there already, cannot be made, or another process makes it. What a killed process
    left half made is removed first.
    """
    path = Path(os.path.abspath(path))
    if os.path.lexists(path):
        raise ConfigError(f"OUT must be a new name, got {path}, which is there. Choose another, or delete it first.")
    part = path.with_name(f".part-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir(exist_ok=True)
        descriptor = os.open(part, os.O_RDONLY)
    except OSError as error:
        raise ConfigError(f"OUT must be a folder that can be made, got {path}: {error.strerror}.") from error
    try:
        if not try_lock(descriptor):
            raise ConfigError(f"OUT must be made by one process at a time, and another makes {path}.")
        _empty(part)
        try:
            yield part
            os.rename(part, path)
        except OSError as error:
            cause = error.strerror or error
            raise ConfigError(f"OUT must be a folder with room for all of it, got {path}: {cause}.") from error
        finally:
            # Renamed, it is not there any more.
            shutil.rmtree(part, ignore_errors=True)
    finally:
        os.close(descriptor)


def _empty(folder: Path) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
