"""The files a source is made of: a path, a glob, a range in braces or a folder, local or any fsspec URL.

They are listed once, for the plan; whoever reads one later says what the plan saw, and a file that is gone or changed
since fails the rows made from it.
"""

import datetime
import itertools
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import fsspec

from onegen.errors import ConfigError, SampleError
from onegen.shards.plan import PlannedFile

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MAGIC = re.compile(r"[*?\[]|\{\d+\.\.\d+\}")


@dataclass(frozen=True)
class Files:
    """Files with an extension of `extensions` that `pattern` means; `word` is the option the pattern stands in.

    `./data` (the folder, recursively, but for hidden files), `./data/*.tar`, `s3://bucket/{0000..0041}.tar`, `one.tar`.
    """

    pattern: str
    extensions: tuple[str, ...]
    word: str

    @cached_property
    def fs(self) -> fsspec.AbstractFileSystem:
        """The file system the pattern lies on."""
        return fsspec.url_to_fs(self.pattern)[0]

    @cached_property
    def _path(self) -> str:
        return str(fsspec.url_to_fs(self.pattern)[1])

    @cached_property
    def base(self) -> str:
        """The folder uris start from, as the file system names it: said by the pattern alone, whatever is there."""
        steps = self._path.rstrip("/").split("/")
        for index, step in enumerate(steps):
            if _MAGIC.search(step):
                return "/".join(steps[:index])
        return "/".join(steps[:-1] if steps[-1].lower().endswith(self.extensions) else steps)

    @property
    def root(self) -> str:
        """The folder uris start from, absolute: a path, or a URL where it is not local."""
        return self.base if self.is_local else str(self.fs.unstrip_protocol(self.base))

    @property
    def is_local(self) -> bool:
        """Say whether the files lie on this machine."""
        return "local" in self.fs.protocol

    def listed(self) -> list[PlannedFile]:
        """Return the files in order of their uris; raises ConfigError where there is none or one cannot be listed."""
        return self._list(_expanded(self._path))

    def first(self) -> PlannedFile:
        """Return the first file, whatever became of the others; raises ConfigError where it is not there."""
        return self._list(itertools.islice(_expanded(self._path), 1))[0]

    def _list(self, paths: Iterable[str]) -> list[PlannedFile]:
        try:
            found = {uri: PlannedFile(uri, *self._state(info)) for path in paths for uri, info in self._found(path)}
            "".join(found).encode()
        except FileNotFoundError as error:
            raise ConfigError(
                f"{self.word} must name files that exist, got {self.pattern} and no {error.filename or error}. "
                f"Paths in a recipe start from where you run onegen."
            ) from error
        except OSError as error:
            raise ConfigError(
                f"{self.word} must be readable, got {self.pattern}: {error}. Give yourself permission."
            ) from error
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"{self.word} must have names of valid UTF-8, got {self.pattern}: {error}. Rename it."
            ) from error
        if not found:
            raise ConfigError(
                f"{self.word} must name at least one {' or '.join(self.extensions)} file, got {self.pattern}, which "
                f"means none. Paths in a recipe start from where you run onegen."
            )
        return [found[uri] for uri in sorted(found)]

    def path(self, uri: str) -> str:
        """Return where the file system has a file."""
        return f"{self.base}/{uri}"

    def check(self, file: PlannedFile) -> None:
        """Raise SampleError source_gone, source_changed or source_unreadable where a file is not as the plan saw it."""
        path = self.path(file.uri)
        try:
            size, etag = state(self.fs, path)
        except FileNotFoundError:
            raise SampleError(
                "source_gone",
                f"{path} must still be there, it was planned with {file.size} bytes. Put it back, then `onegen retry`.",
            ) from None
        except OSError as error:
            raise unreadable(path, error) from error
        if (size, etag) != (file.size, file.etag):
            raise SampleError(
                "source_changed",
                f"{path} must be as planned, {file.size} bytes of {file.etag}, got {size} bytes of {etag}. "
                f"Put the planned file back, or build into a new OUT.",
            )

    def _state(self, info: Mapping[str, Any]) -> tuple[int, str]:
        return local_state(os.stat(info["name"])) if self.is_local else remote_state(info)

    def _found(self, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        if _MAGIC.search(path):
            globbed = self.fs.glob(path, detail=True).items()
            matched = [(name, info) for name, info in globbed if not self._is_hidden(name)]
        elif self.fs.isdir(path):
            matched = list(self._walked(path))
        else:
            matched = [(path, self.fs.info(path))]
        for name, info in matched:
            if info["type"] != "directory" and name.lower().endswith(self.extensions):
                yield posixpath.relpath(name, self.base or "/"), info

    def _is_hidden(self, path: str) -> bool:
        return "/." in f"/{posixpath.relpath(path, self.base or '/')}"

    def _walked(self, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for folder, folders, files in self.fs.walk(path, detail=True, on_error="raise"):
            for name in [name for name in folders if name.startswith(".")]:
                del folders[name]
            for name, info in files.items():
                if not name.startswith("."):
                    yield f"{folder}/{name}", info


def state(fs: fsspec.AbstractFileSystem, path: str) -> tuple[int, str]:
    """Return size and version of a file; raises OSError."""
    return local_state(os.stat(path)) if "local" in fs.protocol else remote_state(fs.info(path))


def local_state(stat: os.stat_result) -> tuple[int, str]:
    """Return size and version of a file of this machine: its modification time to the nanosecond."""
    return stat.st_size, f"mtime:{stat.st_mtime_ns}"


def remote_state(info: Mapping[str, Any]) -> tuple[int, str]:
    """Return size and version of a remote file: the store's etag where it has one, else a time."""
    size = int(info["size"])
    for name in ("ETag", "etag", "md5Hash"):
        if info.get(name):
            return size, f"etag:{info[name]}"
    moment = next((info[name] for name in ("mtime", "LastModified", "last_modified", "created") if info.get(name)), "")
    # A listing and a look at one file may give the same moment as seconds and as a date.
    return size, f"time:{moment.timestamp() if isinstance(moment, datetime.datetime) else moment}"


def unreadable(path: str, error: Exception) -> SampleError:
    """Return the failure of a row whose file cannot be read."""
    said = getattr(error, "strerror", None) or error
    return SampleError("source_unreadable", f"{path} must be readable: {said}. Mend it, then `onegen retry`.")


def _expanded(path: str) -> Iterator[str]:
    """Yield the paths a range in braces stands for, {0000..0041}, its numbers as wide as its first."""
    found = _RANGE.search(path)
    if found is None:
        yield path
        return
    first, last = found.groups()
    for number in range(int(first), int(last) + 1):
        yield from _expanded(f"{path[: found.start()]}{number:0{len(first)}d}{path[found.end() :]}")
