"""Files of a benchmark: in a folder, or in the uncompressed tar that they came in."""

import functools
import tarfile
from dataclasses import dataclass
from pathlib import Path

from onegen.errors import ConfigError


@dataclass(frozen=True, slots=True)
class BenchmarkFiles:
    """The files below a folder, or in a tar whose names may start with `./`."""

    path: Path

    @property
    def is_tar(self) -> bool:
        """Whether it is a tar."""
        return self.path.is_file()

    def has(self, name: str) -> bool:
        """Say whether there is a file of this name."""
        return _plain(name) in _members(self.path) if self.is_tar else (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        """Return a file's bytes; raises ConfigError where there is none."""
        try:
            if not self.is_tar:
                return (self.path / name).read_bytes()
            offset, size = _members(self.path)[_plain(name)]
            with self.path.open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except (OSError, KeyError) as error:
            raise ConfigError(f"{self.path} must hold {name}, and it cannot be read there: {error}.") from error


@functools.lru_cache(maxsize=4)
def _members(path: Path) -> dict[str, tuple[int, int]]:
    """Return offset and size of the files in a tar by name."""
    try:
        with tarfile.open(path, "r:") as tar:
            return {_plain(info.name): (info.offset_data, info.size) for info in tar if info.isreg()}
    except (OSError, tarfile.TarError) as error:
        raise ConfigError(f"--data must be a folder or an uncompressed tar, got {path}: {error}.") from error


def _plain(name: str) -> str:
    return name.removeprefix("./")
