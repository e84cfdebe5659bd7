"""A dataset on an object store: S3 and what speaks its language, Google Cloud Storage, Azure.

By obstore, which asks again with growing pauses where a store throttles, fails or drops the line, cuts large files into
parts, and can write on condition. docs/stores.md.
"""

import atexit
import contextlib
import errno
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

from onegen.errors import ConfigError
from onegen.storage.store import Spool, Store

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

PROTOCOLS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
"""What a URL of an object store may begin with."""
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a web identity, a container's role, and the machine's role",
    "gs": "GOOGLE_BEARER_TOKEN, GOOGLE_SERVICE_ACCOUNT, GOOGLE_APPLICATION_CREDENTIALS, gcloud's own file, and the "
    "machine's account",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_KEY, the machine's identity",
}
"""Where credentials are looked for, by protocol."""
_FAMILY = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az"}
_ENDPOINTS = {"s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"), "gs": ("GOOGLE_BASE_URL",), "az": ()}
"""Variables that name another service, by family."""
_VERSION = {"s3": "e_tag", "gs": "version", "az": "e_tag"}
"""By what a store tells versions of an object where a write depends on one: Google by generations."""
_METADATA = ("169.254.169.254", "metadata.google.internal", "169.254.170.2")
"""Where machines of a cloud ask who they are: the last place, asked when nothing else was said."""
RETRIES: "RetryConfig" = {"max_retries": 8, "retry_timeout": timedelta(seconds=120)}
_READ_AHEAD = 1 << 20
_SEGMENT = 256 << 10
_PAUSE_SECONDS = 5.0


class ObjectStore(Store):
    """A dataset below a prefix of a bucket. Its files appear whole; a rename is a copy and a deletion.

    `fence`, where it is set, is called before every change in this process, and raises where none may be made.
    """

    is_private = False

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.fence: Callable[[], None] | None = None
        self._family, self._objects = _opened(self.url)
        self._logs: dict[str, _Log] = {}

    def _change(self, kind: str, name: str) -> None:
        if self.fence is not None:
            self.fence()

    @contextlib.contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Give the errors of the store the types and words of a file system's."""
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error) or "bucket does not exist" in str(error):
                raise _no_bucket(self.url) from error
            raise FileNotFoundError(errno.ENOENT, "there is no such object", f"{self.url}/{name}") from error
        except _obstore().exceptions.BaseError as error:
            raise as_os_error(error, f"{self.url}/{name}".rstrip("/"), self._family) from error

    def exists(self, name: str) -> bool:
        """Say whether an object of this name is there."""
        try:
            self.size(name)
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int:
        """Return the size of an object in bytes; raises FileNotFoundError."""
        return int(self._head(name)["size"])

    def _head(self, name: str) -> Any:
        if not name:
            raise FileNotFoundError(errno.ENOENT, "a prefix is no object", self.url)
        with self._told(name):
            return _obstore().head(self._objects, name)

    def _entries(self, folder: str, kind: Literal["file", "directory"]) -> list[str]:
        """Return the names of one kind directly below a prefix, sorted."""
        listed = self._listed(folder)
        found = listed["common_prefixes"] if kind == "directory" else [entry["path"] for entry in listed["objects"]]
        return sorted(_last(path) for path in found)

    def versions(self, folder: str, extension: str = "") -> dict[str, str]:
        """Return, by name, the size and etag of the objects directly below a prefix whose names end so."""
        objects = ((_last(entry["path"]), entry) for entry in self._listed(folder)["objects"])
        return {name: f"{entry['size']} {entry['e_tag']}" for name, entry in objects if name.endswith(extension)}

    def _listed(self, folder: str) -> Any:
        with self._told(folder):
            return _obstore().list_with_delimiter(self._objects, folder or None)

    def open(self, name: str) -> BinaryIO:
        """Open an object for random-access reading, by ranges."""
        return cast(BinaryIO, io.BufferedReader(_Ranges(self, name, self.size(name)), _READ_AHEAD))

    def read(self, name: str) -> bytes:
        """Return a whole object."""
        with self._told(name):
            return bytes(_obstore().get(self._objects, name).bytes())

    def read_range(self, name: str, start: int, end: int) -> bytes:
        """Return the bytes of an object from `start` to before `end`, fewer where it ends earlier."""
        if start >= end:
            return b""
        try:
            with self._told(name):
                return bytes(_obstore().get_range(self._objects, name, start=start, end=end))
        except OSError:
            # Stores give what there is of a range, but refuse one that begins where the object ends.
            if start < self.size(name):
                raise
            return b""

    def write(self, name: str, data: bytes) -> None:
        """Put `data` under `name` in one step, replacing what was there."""
        self._change("write", name)
        with self._told(name):
            _obstore().put(self._objects, name, data)

    def publish(self, spool: Spool, name: str) -> None:
        """Give a spooled file its name, replacing what was there; a large one goes in parts."""
        self._change("publish", name)
        spool.file.close()
        with self._told(name):
            _obstore().put(self._objects, name, Path(spool.path))

    def rename(self, old: str, new: str) -> None:
        """Give an object another name, replacing what was there: a copy within the store, then a deletion."""
        self._change("rename", new)
        with self._told(old):
            _obstore().copy(self._objects, old, new)
        with self._told(old):
            _obstore().delete(self._objects, old)

    def delete(self, name: str) -> None:
        """Remove an object; nothing happens where there is none."""
        self._change("delete", name)
        with contextlib.suppress(FileNotFoundError), self._told(name):
            _obstore().delete(self._objects, name)

    def append(self, name: str, text: str) -> None:
        """Add text to a log.

        An object does not grow: a log is a row of objects, `NAME.0000.EXTENSION` and on, the last of them written anew
        every few seconds at most. A process that is killed takes the lines of the last seconds with it.
        """
        self._change("append", name)
        if not self._logs:
            atexit.register(self._flush_at_last)
        log = self._logs.setdefault(name, _Log(name))
        log.add(text)
        if log.is_due():
            self._put(log)

    def flush(self) -> None:
        """Write what was added to logs."""
        for log in self._logs.values():
            if log.is_open:
                self._put(log)

    def _flush_at_last(self) -> None:
        with contextlib.suppress(OSError):
            self.flush()

    def _put(self, log: "_Log") -> None:
        with self._told(log.name):
            _obstore().put(self._objects, log.segment(), log.text.encode())
        log.written()

    def write_if(self, name: str, data: bytes, version: str | None) -> str:
        """Put `data` under `name` where it still has this version, None for no such object; return the new version.

        Raises FileExistsError where it has another. Not a change that `fence` may refuse: a lease is kept by it.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            with self._told(name):
                try:
                    mode = "create" if version is None else {_VERSION[self._family]: version}
                    put = _obstore().put(self._objects, name, data, mode=mode)
                except (AlreadyExistsError, PreconditionError) as error:
                    raise FileExistsError(errno.EEXIST, "another version is there", f"{self.url}/{name}") from error
        except FileNotFoundError as error:
            # Gone since: who was to be replaced has left.
            raise FileExistsError(errno.EEXIST, "it is gone", f"{self.url}/{name}") from error
        return str(put[_VERSION[self._family]])

    def stamp(self, name: str) -> tuple[str, float]:
        """Return the version of an object, and when it was written, in seconds by the store's own clock.

        Raises FileNotFoundError.
        """
        head = self._head(name)
        return str(head[_VERSION[self._family]]), float(head["last_modified"].timestamp())


class _Log:
    """The last object of a log: its text so far, and when it was last written."""

    def __init__(self, name: str) -> None:
        self.name, self.text, self.is_open = name, "", False
        self._number, self._written = 0, float("-inf")

    def segment(self) -> str:
        stem, dot, extension = self.name.rpartition(".")
        return f"{stem}.{self._number:04d}{dot}{extension}"

    def add(self, text: str) -> None:
        self.text += text
        self.is_open = True

    def is_due(self) -> bool:
        return len(self.text) >= _SEGMENT or time.monotonic() - self._written >= _PAUSE_SECONDS

    def written(self) -> None:
        self._written, self.is_open = time.monotonic(), False
        if len(self.text) >= _SEGMENT:
            self.text, self._number = "", self._number + 1


class _Ranges(io.RawIOBase):
    """An object as a file, each read a range of it."""

    def __init__(self, store: ObjectStore, name: str, size: int) -> None:
        self._store, self._name, self._size, self._at = store, name, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        with self._store._told(self._name):
            data = _obstore().get_range(self._store._objects, self._name, start=self._at, end=end)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _last(path: Any) -> str:
    return str(path).rstrip("/").rsplit("/", 1)[-1]


_LOCK = threading.Lock()


def _obstore() -> Any:
    """Return obstore, imported where it is first needed."""
    import obstore

    return obstore


def _opened(url: str) -> tuple[str, Any]:
    """Return the family of a URL and obstore's own store; raises ConfigError for want of obstore or of a bucket."""
    try:
        from obstore.store import from_url
    except ImportError as error:
        raise ConfigError(
            f"{url} needs what reads object stores, which is not installed. Install it: pip install 'onegen[stores]'"
        ) from error
    if not url.partition("://")[2].strip("/"):
        raise ConfigError(f"URL of a dataset must name a bucket and a place in it, got {url!r}.")
    from obstore.exceptions import BaseError

    with _LOCK:
        try:
            return family(url), from_url(url, client_options=client(family(url)), retry_config=RETRIES)
        except (BaseError, ValueError) as error:
            raise ConfigError(f"URL of a dataset must be one of a bucket, got {url!r}: {str(error)[:200]}.") from error


def family(url: str) -> str:
    """Return which of `CREDENTIALS` a URL asks for."""
    protocol = url.partition("://")[0]
    return _FAMILY.get(protocol, protocol)


def as_os_error(error: Exception, where: str, family: str) -> OSError:
    """Return an error of obstore's as an OSError of one line, which says nothing of a secret."""
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    said = str(error).splitlines()[0]
    if any(address in said for address in _METADATA):
        looked = f"no credentials were found; looked for {CREDENTIALS[family]}"
        return PermissionError(errno.EACCES, looked, where)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or "403 Forbidden" in said:
        return PermissionError(errno.EACCES, "the store refuses these credentials here", where)
    if "NoSuchBucket" in str(error):
        return _no_bucket(where)
    return OSError(errno.EIO, said.removesuffix(": "), where)


def client(family: str) -> "ClientConfig":
    """Return how a store of this family is talked to: without TLS only where its endpoint says so."""
    endpoint = next((os.environ[name] for name in _ENDPOINTS[family] if os.environ.get(name)), "")
    return {"allow_http": endpoint.startswith("http://"), "connect_timeout": "10s", "timeout": "60s"}


def _no_bucket(url: str) -> OSError:
    bucket = url.partition("://")[2].partition("/")[0]
    return OSError(errno.ENXIO, f"there is no bucket {bucket!r}; make it first", url)
