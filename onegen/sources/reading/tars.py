"""Tars of samples: the parts of every key by their headers alone, and the bytes of a part."""

import contextlib
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, cast

import pyarrow as pa

from onegen.errors import ConfigError, SampleError
from onegen.shards.plan import PlannedFile, PlannedItem
from onegen.sources.reading.files import Files
from onegen.sources.reading.sidecar import sidecar_object
from onegen.sources.reading.tar import (
    LOST,
    PLAIN,
    SPARSE,
    DamagedTar,
    TarMember,
    key_and_part,
    member_uri,
    members,
    read_sparse,
    split_member,
)
from onegen.sources.reading.tar_index import TarIndex
from onegen.sources.reading.tree import FileTree, unreadable

_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")
_SPARSE_BYTES = 1 << 30
"""No picture is larger; what is, is a hole that a few bytes of tar blow up to any size."""
PARTS = pa.schema(
    [
        ("tar", pa.string()),
        ("key", pa.string()),
        ("part", pa.string()),
        ("start", pa.int64()),
        ("uri", pa.string()),
        ("size", pa.int64()),
        ("etag", pa.string()),
    ]
)
_MOST_PARTS = 20
"""Parts that a message names."""
ROW, END = "/row", "/end"
"""Parts that are no members, whose parts have no slash: a row of the table beside a tar, the end of a damaged tar."""


class Tars:
    """The tars that `pattern` means; `option` names them in messages."""

    def __init__(self, pattern: str, option: str) -> None:
        reason = "compressed tars are not read, members are read at their offsets: unpack them to .tar"
        self.files = Files(pattern, (".tar",), option, dict.fromkeys(_COMPRESSED, reason))
        self._keyless: Counter[str] = Counter()
        self._index = TarIndex(self.files.tree)

    @property
    def _tree(self) -> FileTree:
        return self.files.tree

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files, folders and members the last listing left out, by the reason why."""
        return dict(self.files.passed + self._keyless)

    def listed(self) -> list[PlannedFile]:
        """Return the tars in order of their uris, and begin to count anew; raises ConfigError."""
        self._keyless.clear()
        return self.files.listed()

    def parts(self, tar: PlannedFile) -> Iterator[tuple[Any, ...]]:
        """Yield the members of a tar that have a key as rows of `PARTS`; a damaged one ends with the part END."""
        etag = f"{tar.size}:{tar.etag}"
        try:
            with self._open(tar) as file:
                for member in members(file, tar.size, self._keyless):
                    key, part = key_and_part(member.name)
                    uri = member_uri(tar.uri, member)
                    if not key:
                        self._keyless["their names in the tar have no suffix, or are hidden"] += 1
                    else:
                        yield tar.uri, key, part, member.offset, uri, member.size, etag
        except DamagedTar as damage:
            end = TarMember("", damage.offset, 0)
            yield tar.uri, "", END, end.offset, member_uri(tar.uri, end), 0, etag

    def objects(self, tar: PlannedFile) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects of the members `key.json` of a tar; what is none is left out."""
        with contextlib.suppress(DamagedTar), self._open(tar) as file:
            for member in members(file, tar.size, Counter()):
                if key_and_part(member.name)[1] == "json" and member.form == PLAIN:
                    # Headers are looked up by their offsets, so the file may be read in between.
                    file.seek(member.offset)
                    with contextlib.suppress(SampleError):
                        yield sidecar_object(member.name, file.read(member.size))

    def member(self, file: PlannedFile) -> bytes:
        """Return the bytes of a member, if its tar is still the planned one or may be another by now."""
        tar, member = split_member(file.uri, file.size) or (file.uri, TarMember("", 0, file.size))
        self._check(file, tar)
        return self._bytes(tar, member if file.etag is not None else self._member_now(tar, member))

    def part(self, item: PlannedItem, part: str) -> PlannedFile | None:
        """Return a part of an item's key that the plan need not name; raises SampleError as `TarIndex.find` does."""
        tar, _, key = item.item.rpartition("#")
        return self._index.find(tar, item.images[0].etag, key, part)

    def _member_now(self, tar: str, member: TarMember) -> TarMember:
        """Return where a member lies by now; raises SampleError source_gone where its tar has none of its name."""
        file = self._index.find(tar, None, *key_and_part(member.name))
        planned = split_member(file.uri, file.size) if file is not None else None
        if planned is None:
            path = self._tree.path(tar)
            raise SampleError("source_gone", f"{member.name} must be in {path}, and is no more. Put it back there.")
        return planned[1]

    def _bytes(self, tar: str, member: TarMember) -> bytes:
        """Return the bytes of a member; raises SampleError source_unreadable, lost_link or too_sparse."""
        path = self._tree.path(tar)
        if member.form == LOST:
            raise SampleError(
                "lost_link",
                f"{member.name} must be a hard link to a file before it in {path}, which has none. Mend it.",
            )
        if member.form == SPARSE and member.size > _SPARSE_BYTES:
            raise SampleError(
                "too_sparse", f"{member.name} must have at most {_SPARSE_BYTES:,} bytes, got {member.size:,} in {path}."
            )
        try:
            if member.form == SPARSE:
                with self._tree.fs.open(path, "rb") as opened:
                    data = read_sparse(opened, member.offset)
            else:
                end = member.offset + member.size
                data = bytes(self._tree.fs.cat_file(path, start=member.offset, end=end))
        except (OSError, ValueError, tarfile.TarError) as error:
            raise unreadable(path, error) from error
        if len(data) != member.size:
            raise unreadable(path, EOFError(f"{member.name} must have {member.size} bytes, got {len(data)}"))
        return data

    def _check(self, part: PlannedFile, tar: str) -> None:
        size, _, etag = part.etag.partition(":") if part.etag is not None else (0, "", None)
        self._tree.check(PlannedFile(tar, int(size), etag))

    def damage(self, end: PlannedFile, tar: str, offset: int) -> SampleError:
        """Return why nothing is read from where a tar breaks off; raises SampleError where it has changed."""
        self._check(end, tar)
        return SampleError(
            "damaged_tar",
            f"{self._tree.path(tar)} must be a whole, uncompressed tar, it breaks off at byte {offset:,}. What stands "
            f"before was planned; for the rest, mend it and build into a new OUT.",
        )

    def _open(self, tar: PlannedFile) -> BinaryIO:
        try:
            return cast(BinaryIO, self._tree.fs.open(self._tree.path(tar.uri), "rb"))
        except OSError as error:
            raise ConfigError(
                f"{self._tree.path(tar.uri)} must be readable: {error}. Give yourself permission, or move it away."
            ) from error


def named_parts(parts: list[str]) -> str:
    """Return the names of parts as a message has them."""
    more = f" and {len(parts) - _MOST_PARTS} more" if len(parts) > _MOST_PARTS else ""
    return ", ".join(parts[:_MOST_PARTS]) + more


def planned_parts(parts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of `PARTS` as the files of a plan."""
    return [{field: part[field] for field in ("uri", "size", "etag")} for part in parts]


def member_name(file: PlannedFile) -> str:
    """Return the name of a planned member in its tar."""
    planned = split_member(file.uri)
    return planned[1].name if planned else file.uri
