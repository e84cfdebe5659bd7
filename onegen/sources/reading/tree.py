"""A folder on any file system: the files below it, and whether each is still as the plan saw it.

Files are listed once, for the plan; whoever reads one later says what the plan saw, and a file that is gone, changed or
unreadable since fails the rows made from it.
"""

import contextlib
import datetime
import os
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import fsspec

from onegen.errors import SampleError
from onegen.shards.plan import PlannedFile, plan_name

_FIRST_PLAN = plan_name(0)
DATASETS = "they are onegen datasets of their own"
_LINKS = "they are links to folders, which are not followed"
_NO_FILES = "they are neither files nor folders"


@dataclass(frozen=True)
class FileTree:
    """What lies below `base`, a folder as its file system names it; uris start from there."""

    fs: fsspec.AbstractFileSystem
    base: str

    @property
    def root(self) -> str:
        """The folder uris start from, absolute: a path, or a URL where it is not local."""
        return self.base if self.is_local else str(self.fs.unstrip_protocol(self.base))

    @property
    def is_local(self) -> bool:
        """Say whether the files lie on this machine."""
        return "local" in self.fs.protocol

    def path(self, uri: str) -> str:
        """Return where the file system has a file."""
        return f"{self.base}/{uri}"

    def uri(self, path: str) -> str:
        """Return the uri of a file, given where the file system has it."""
        return posixpath.relpath(path, self.base or "/")

    def state(self, uri: str) -> tuple[int, str]:
        """Return size and version of a file; raises OSError."""
        path = self.path(uri)
        return local_state(os.stat(path)) if self.is_local else remote_state(self.fs.info(path))

    def walk(self, folder: str, passed: Counter[str]) -> Iterator[PlannedFile]:
        """Yield the files below a folder that are not hidden; what else is left out is counted by its reason.

        Raises OSError where a folder cannot be listed.
        """
        yield from self._walk_local(folder, passed) if self.is_local else self._walk_remote(folder, passed)

    def names(self) -> Iterator[str]:
        """Yield the names of what lies in `base` itself; raises OSError where it cannot be listed."""
        if self.is_local:
            with os.scandir(self.base) as entries:
                yield from (entry.name for entry in entries)
        else:
            yield from (posixpath.basename(str(path).rstrip("/")) for path in self.fs.ls(self.base, detail=False))

    def holds_dataset(self, folder: str) -> bool:
        """Say whether a folder is an onegen dataset, finished or begun: another build's output, or this one's."""
        return bool(self.fs.isfile(f"{folder}/{_FIRST_PLAN}"))

    def _walk_local(self, top: str, passed: Counter[str]) -> Iterator[PlannedFile]:
        """Walk a folder of this machine entry by entry: fsspec would hold a folder of a million files at once."""
        pending = [top]
        while pending:
            folder = pending.pop()
            uri = self.uri(folder)
            prefix = "" if uri == "." else f"{uri}/"
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if self.holds_dataset(entry.path):
                            passed[DATASETS] += 1
                        else:
                            pending.append(entry.path)
                    elif entry.is_dir():
                        passed[_LINKS] += 1
                    elif entry.is_file() or entry.is_symlink():
                        try:
                            yield PlannedFile(prefix + entry.name, *local_state(entry.stat()))
                        except FileNotFoundError:
                            # A link to nothing is planned, so that it fails by name instead of vanishing.
                            yield PlannedFile(prefix + entry.name, 0, "mtime:none")
                    else:
                        passed[_NO_FILES] += 1

    def _walk_remote(self, top: str, passed: Counter[str]) -> Iterator[PlannedFile]:
        for path, folders, files in self.fs.walk(top, detail=True, on_error="raise"):
            if path != top and posixpath.dirname(_FIRST_PLAN) in folders and self.holds_dataset(path):
                passed[DATASETS] += 1
                folders.clear()
                continue
            for name in [name for name in folders if name.startswith(".")]:
                del folders[name]
            for name, info in files.items():
                if not name.startswith("."):
                    yield PlannedFile(self.uri(f"{path}/{name}"), *remote_state(info))

    def check(self, file: PlannedFile) -> None:
        """Raise SampleError source_gone, source_changed or source_unreadable where a file is not as the plan saw it."""
        with self._failures(file):
            size, etag = self.state(file.uri)
        if file.etag is not None and (size, etag) != (file.size, file.etag):
            raise self._changed(file, size, etag)

    def read(self, file: PlannedFile) -> bytes:
        """Return the bytes of a whole file; raises SampleError as `check` does."""
        with self._failures(file):
            size, etag = self.state(file.uri)
            data = bytes(self.fs.cat_file(self.path(file.uri)))
        planned = (size, etag) if file.etag is None else (file.size, file.etag)
        if (size, etag) != planned or len(data) != size:
            raise self._changed(file, size, etag)
        return data

    @contextlib.contextmanager
    def _failures(self, file: PlannedFile) -> Iterator[None]:
        """Give the errors of the file system the reasons that rows fail with."""
        path = self.path(file.uri)
        try:
            yield
        except FileNotFoundError:
            raise SampleError(
                "source_gone",
                f"{path} must still be there, it was planned with {file.size} bytes. Put it back, then `onegen retry`.",
            ) from None
        except OSError as error:
            raise unreadable(path, error) from error

    def _changed(self, file: PlannedFile, size: int, etag: str) -> SampleError:
        return SampleError(
            "source_changed",
            f"{self.path(file.uri)} must be as planned, {file.size} bytes of {file.etag}, got {size} bytes of {etag}. "
            f"Put the planned file back, or take it as it is with `onegen retry`.",
        )


def local_state(stat: os.stat_result) -> tuple[int, str]:
    """Return size and version of a file of this machine: its modification time to the nanosecond."""
    return stat.st_size, f"mtime:{stat.st_mtime_ns}"


def remote_state(info: Mapping[str, Any]) -> tuple[int, str]:
    """Return size and version of a remote file: the store's etag where it has one, else a time."""
    size = int(info["size"])
    for name in ("ETag", "etag", "e_tag", "md5Hash"):
        if info.get(name):
            return size, f"etag:{info[name]}"
    moment = next((info[name] for name in ("mtime", "LastModified", "last_modified", "created") if info.get(name)), "")
    # A listing and a look at one file may give the same moment as seconds and as a date.
    return size, f"time:{moment.timestamp() if isinstance(moment, datetime.datetime) else moment}"


def unreadable(path: str, error: Exception) -> SampleError:
    """Return the failure of a row whose file cannot be read."""
    cause = getattr(error, "strerror", None) or error
    return SampleError("source_unreadable", f"{path} must be readable: {cause}. Mend it, then `onegen retry`.")
