"""A dataset in a folder of this machine."""

import contextlib
import os
import re
import shutil
import uuid
from typing import Any, BinaryIO, Literal

from onegen.storage.store import Spool, Store, newest_settled, version_of

TEMPORARY = ".tmp"
"""Folder of half-written files, which are orphans once no driver holds the lease."""
_TEMPORARY_FILE = re.compile(r"[0-9a-f]{32}|journal-.+")
"""Names of what is written there: one for a file in the making, and the notes beside it (see `shards/journal.py`)."""


class LocalStore(Store):
    """A dataset in a folder of this machine: temporary files are renamed into place and flushed to disk first."""

    is_local = True
    is_private = False

    def __init__(self, url: str) -> None:
        self.url = url
        self._root = os.path.abspath(os.path.expanduser(re.sub(r"^(file|local)://", "", url)))

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker may run in another folder, and the same words would mean another dataset there.
        return type(self), (self.url,), {"_root": self._root}

    @property
    def root(self) -> str:
        """The folder, absolute."""
        return self._root

    def is_link(self, name: str) -> bool:
        """Say whether a name is a symbolic link: what is behind it is not the dataset's."""
        return os.path.islink(self._path(name))

    def free_bytes(self) -> int | None:
        """Return the room left on the disk of the folder; None before it is made."""
        return shutil.disk_usage(self._root).free if os.path.isdir(self._root) else None

    def exists(self, name: str) -> bool:
        """Say whether a file of this name is there."""
        return os.path.isfile(self._path(name))

    def size(self, name: str) -> int:
        """Return the size of a file in bytes; raises FileNotFoundError."""
        return os.stat(self._path(name)).st_size

    def _entries(self, folder: str, kind: Literal["file", "directory"]) -> list[str]:
        """Return the names of one kind directly in a folder, sorted; links count as what they lead to."""
        try:
            with os.scandir(self._path(folder)) as entries:
                return sorted(entry.name for entry in entries if (entry.is_file if kind == "file" else entry.is_dir)())
        except FileNotFoundError:
            return []

    def versions(self, folder: str, extension: str = "") -> dict[str, str]:
        """Return, by name, a text that is another once a file directly in a folder was written again: size and time."""
        found: dict[str, str] = {}
        newest = newest_settled()
        with contextlib.suppress(FileNotFoundError), os.scandir(self._path(folder)) as entries:
            for entry in entries:
                if entry.name.endswith(extension) and entry.is_file():
                    try:
                        about = entry.stat()
                    except FileNotFoundError:
                        # It vanished meanwhile.
                        continue
                    found[entry.name] = version_of(about.st_size, about.st_mtime_ns, newest)
        return found

    def open(self, name: str) -> BinaryIO:
        """Open a file for random-access reading."""
        return open(self._path(name), "rb")

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        with self.open(name) as file:
            return file.read()

    def read_range(self, name: str, start: int, end: int) -> bytes:
        """Return the bytes of a file from `start` to before `end`, fewer where it ends earlier."""
        with self.open(name) as file:
            file.seek(start)
            return file.read(end - start)

    def write(self, name: str, data: bytes) -> None:
        """Put `data` under `name` in one step, on disk before this returns."""
        self._change("write", name)
        with self._open_temporary() as file:
            file.write(data)
            self._flush(file)
        self._move(file.name, name)

    def publish(self, spool: "Spool", name: str) -> None:
        """Give a spooled file its name, on disk before this returns."""
        self._change("publish", name)
        self._flush(spool.file)
        spool.file.close()
        self._move(spool.path, name)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name in one step, replacing what was there."""
        self._change("rename", new)
        self._move(self._path(old), new)

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""
        self._change("delete", name)
        with contextlib.suppress(FileNotFoundError):
            os.remove(self._path(name))

    def remove_folder(self, folder: str) -> None:
        """Remove a folder that holds nothing; one that holds something, or is not there, is left as it is."""
        with contextlib.suppress(OSError):
            os.rmdir(self._path(folder))

    def append(self, name: str, text: str) -> None:
        """Add text to the end of a log file."""
        self._change("append", name)
        os.makedirs(os.path.dirname(self._path(name)), exist_ok=True)
        with open(self._path(name), "a", encoding="utf-8") as file:
            file.write(text)

    def scratch(self) -> str | None:
        """Return the folder of temporary files."""
        os.makedirs(self._path(TEMPORARY), exist_ok=True)
        return self._path(TEMPORARY)

    def clear_temporary(self) -> int:
        """Delete what dead workers left half written; return how many files."""
        if self.is_link(TEMPORARY):
            return 0
        names = [name for name in self.names(TEMPORARY) if _TEMPORARY_FILE.fullmatch(name)]
        for name in names:
            self.delete(f"{TEMPORARY}/{name}")
        return len(names)

    def _open_temporary(self) -> BinaryIO:
        """Open a new file on the same disk, so that to give it its name is to rename it."""
        path = self._path(f"{TEMPORARY}/{uuid.uuid4().hex}")
        with contextlib.suppress(FileNotFoundError):
            return open(path, "wb")
        os.makedirs(self._path(TEMPORARY), exist_ok=True)
        return open(path, "wb")

    @staticmethod
    def _flush(file: BinaryIO) -> None:
        file.flush()
        os.fsync(file.fileno())

    def _move(self, old: str, name: str) -> None:
        new = self._path(name)
        try:
            os.replace(old, new)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(new), exist_ok=True)
            os.replace(old, new)
        # Without this a power cut may keep a manifest and lose the file it names.
        folder = os.open(os.path.dirname(new), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
