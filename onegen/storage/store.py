"""Where a dataset's files live: one small interface over local files and any other fsspec file system.

Names are relative to the dataset, with `/` between parts. Every change of a named file passes `_change(kind, name)`
first, so that a test can kill the process at each of them. A file appears under its name whole or not at all; only what
lies in `scratch` may be cut short.
"""

import contextlib
import errno
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO, Literal, cast

import fsspec


class Store:
    """A dataset's files on any fsspec file system. Picklable, so that workers open the same one."""

    is_local = False

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._fs, self._root = fsspec.url_to_fs(self.url)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url,)

    @property
    def is_private(self) -> bool:
        """Say whether this process alone sees the files."""
        return "memory" in self._fs.protocol

    def _change(self, kind: str, name: str) -> None:
        """Pass before every change; tests override it. `kind` is write, spool, publish, rename, delete or append."""

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}" if name else self._root

    def is_link(self, name: str) -> bool:
        """Say whether a name is a link to somewhere else; only a local folder has any."""
        return False

    def free_bytes(self) -> int | None:
        """Return the room left where the files lie; None where the store does not know."""
        return None

    def exists(self, name: str) -> bool:
        """Say whether a file of this name is there."""
        return bool(self._fs.exists(self._path(name)))

    def size(self, name: str) -> int:
        """Return the size of a file in bytes; raises FileNotFoundError."""
        return int(self._fs.info(self._path(name))["size"])

    def names(self, folder: str = "") -> list[str]:
        """Return the names of the files directly in a folder, sorted, without the folder; empty when there is none."""
        return self._entries(folder, "file")

    def folders(self, folder: str = "") -> list[str]:
        """Return the names of the folders directly in a folder, sorted; empty when there is none."""
        return self._entries(folder, "directory")

    def _entries(self, folder: str, kind: Literal["file", "directory"]) -> list[str]:
        """Return the names of one kind directly in a folder, sorted."""
        try:
            entries = self._fs.ls(self._path(folder), detail=True)
        except FileNotFoundError:
            return []
        return sorted(str(entry["name"]).rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry["type"] == kind)

    def versions(self, folder: str, extension: str = "") -> dict[str, str]:
        """Return, by name, a text that is another once a file directly in a folder was written again.

        Of the files whose names end so, from one listing; nothing is opened. The text is empty where it could not tell:
        of a file written this very moment, or where the store says neither etag nor time.
        """
        try:
            entries = self._fs.ls(self._path(folder), detail=True)
        except FileNotFoundError:
            return {}
        files = ((str(entry["name"]).rsplit("/", 1)[-1], entry) for entry in entries if entry["type"] == "file")
        newest = newest_settled()
        return {name: _version(entry, newest) for name, entry in files if name.endswith(extension)}

    def open(self, name: str) -> BinaryIO:
        """Open a file for random-access reading."""
        return self._fs.open(self._path(name), "rb")

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        return bytes(self._fs.cat_file(self._path(name)))

    def read_range(self, name: str, start: int, end: int) -> bytes:
        """Return the bytes of a file from `start` to before `end`, fewer where it ends earlier."""
        return bytes(self._fs.cat_file(self._path(name), start=start, end=end))

    def write(self, name: str, data: bytes) -> None:
        """Put `data` under `name` in one step, replacing what was there."""
        self._change("write", name)
        self._fs.makedirs(self._fs._parent(self._path(name)), exist_ok=True)
        self._fs.pipe_file(self._path(name), data)

    @contextlib.contextmanager
    def spool(self, label: str) -> Iterator["Spool"]:
        """Give a temporary file to write to; it is gone afterwards unless `publish` gave it a name."""
        self._change("spool", label)
        spool = Spool(self._open_temporary(), label)
        try:
            yield spool
        finally:
            spool.close()

    def _open_temporary(self) -> BinaryIO:
        return cast(BinaryIO, tempfile.NamedTemporaryFile(prefix="onegen-", delete=False))

    def publish(self, spool: "Spool", name: str) -> None:
        """Give a spooled file its name, replacing what was there."""
        self._change("publish", name)
        spool.file.close()
        self._fs.makedirs(self._fs._parent(self._path(name)), exist_ok=True)
        self._fs.put_file(spool.path, self._path(name))

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, replacing what was there."""
        self._change("rename", new)
        self._fs.mv(self._path(old), self._path(new))

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""
        self._change("delete", name)
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def append(self, name: str, text: str) -> None:
        """Add text to the end of a log file; the only kind of file that is ever half there."""
        self._change("append", name)
        self._fs.makedirs(self._fs._parent(self._path(name)), exist_ok=True)
        before = self._fs.cat_file(self._path(name)) if self._fs.exists(self._path(name)) else b""
        self._fs.pipe_file(self._path(name), before + text.encode())

    def flush(self) -> None:
        """Write what was added to logs and is not written yet."""

    def remove_folder(self, folder: str) -> None:
        """Remove a folder that holds nothing; one that holds something, or is not there, is left as it is."""

    def scratch(self) -> str | None:
        """Return a folder for files that outlive their process and not the build; None where there is no such place."""
        return None

    def clear_temporary(self) -> int:
        """Delete what dead workers left half written; return how many files."""
        return 0


SETTLED_SECONDS = 2.0
"""How old a file must be that its time tells it from what is written next: some file systems count whole seconds."""


def newest_settled() -> int:
    """Return the latest time of change, in nanoseconds since the epoch, of files that are old enough now."""
    return int((time.time() - SETTLED_SECONDS) * 1e9)


def version_of(size: int, time_ns: int, newest: int) -> str:
    """Return what tells a file from the next of its name by size and time of change, empty where it is too young."""
    return "" if time_ns > newest else f"{size}-{time_ns}"


def _version(entry: Mapping[str, Any], newest: int) -> str:
    for name in ("ETag", "etag", "md5Hash"):
        if entry.get(name):
            return f"{entry['size']}-{entry[name]}"
    for name in ("mtime", "LastModified", "updated", "created"):
        changed = entry.get(name)
        if isinstance(changed, datetime):
            return version_of(entry["size"], int(changed.timestamp() * 1e9), newest)
        if isinstance(changed, int | float):
            return version_of(entry["size"], int(changed * 1e9), newest)
    return ""


class Spool:
    """A temporary file being written; `tell` is the number of bytes so far."""

    def __init__(self, file: BinaryIO, label: str) -> None:
        self.file = file
        self.label = label
        self.path = str(file.name)

    def close(self) -> None:
        """Close the file, and remove it where it was not given a name."""
        self.file.close()
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.path)


def explain(error: OSError, store: Store) -> str:
    """Return a sentence that names the thing, the rule and the way out for a failed write."""
    where = error.filename or store.url
    if error.errno == errno.ENOSPC or error.errno == errno.EDQUOT:
        left = store.free_bytes()
        free = f", {left:,} bytes left" if left is not None else ""
        return (
            f"disk must have room for the shard being written, {where} is full{free}. "
            f"Free space, then run the same command again: nothing committed is lost."
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"output must be writable, got {where}: {error.strerror}. Choose another OUT or change its permissions."
    cause = str(error.strerror or error).removesuffix(".")
    return f"output could not be written or read back: {where}: {cause}. Mend it, then run the same command again."
