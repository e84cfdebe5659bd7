"""The members of a tar by streaming its headers: names, offsets and sizes, no payload is read."""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = 512
_MEMBER = re.compile(r"(?P<tar>.*?\.tar)#(?P<offset>\d+):(?P<name>.*)", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TarMember:
    """A regular file in a tar: name (valid UTF-8), offset of its first byte, and size."""

    name: str
    offset: int
    size: int


class DamagedTar(Exception):
    """The tar breaks off at `offset`: every member before is whole."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def members(file: BinaryIO, size: int) -> Iterator[TarMember]:
    """Yield the regular files of an uncompressed tar of `size` bytes, in their order.

    Raises DamagedTar where it breaks off: a member reaches beyond the end, a header is none, the end mark is missing.
    """
    offset = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while (info := archive.next()) is not None:
                # A tar of millions of members must not become a list of them.
                archive.members.clear()  # type: ignore[attr-defined]
                if info.offset_data + info.size > size:
                    raise DamagedTar(offset)
                offset = archive.offset  # type: ignore[attr-defined]
                if info.isreg():
                    name = info.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                    yield TarMember(name, info.offset_data, info.size)
    except tarfile.TarError as error:
        raise DamagedTar(offset) from error
    # tarfile takes a header that is none for the end.
    file.seek(offset)
    if file.read(BLOCK) != bytes(BLOCK):
        raise DamagedTar(offset)


def key_and_part(name: str) -> tuple[str, str]:
    """Return key and part of a member as webdataset does: `a/b.c.JPG` is `c.jpg` of `a/b`; `README` has no key."""
    folder, slash, base = name.rpartition("/")
    stem, dot, part = base.partition(".")
    is_meta = not folder and name.startswith("__") and name.endswith("__")
    return (f"{folder}{slash}{stem}", part.lower()) if stem and dot and not is_meta else ("", "")


def member_uri(tar: str, offset: int, name: str) -> str:
    """Return the uri of a member, or with no name of the place where a tar breaks off."""
    return f"{tar}#{offset}:{name}"


def split_member(uri: str) -> tuple[str, int, str] | None:
    """Return tar, offset and name of a member's uri; None for another uri."""
    match = _MEMBER.fullmatch(uri)
    return (match["tar"], int(match["offset"]), match["name"]) if match else None
