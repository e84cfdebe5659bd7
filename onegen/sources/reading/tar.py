"""The members of a tar by streaming its headers: names, offsets and sizes, no payload is read.

Tars written one behind the other (`cat a.tar b.tar`) are one tar. A hard link has the bytes of the member it names; a
sparse member, whose holes are not in the tar, is put together when it is read.
"""

import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal, cast

Form = Literal["", "s", "l"]
"""How a member lies in its tar: plain; sparse, its offset that of its header; a hard link to nothing, of no bytes."""
PLAIN: Form = ""
SPARSE: Form = "s"
LOST: Form = "l"
BLOCK = 512
_CHUNK = 1 << 20
_MEMBER = re.compile(r"(?P<tar>.*?\.tar)#(?P<offset>\d+)(?P<form>[sl]?):(?P<name>.*)", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TarMember:
    """A file in a tar: name (valid UTF-8), offset of its first byte, size, and how it lies there."""

    name: str
    offset: int
    size: int
    form: Form = PLAIN


class DamagedTar(Exception):
    """No more can be read from `offset` on: every member before is whole."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def members(file: BinaryIO, size: int, passed: Counter[str]) -> Iterator[TarMember]:
    """Yield the files of an uncompressed tar of `size` bytes: regular and sparse in their order, then hard links.

    Symbolic links and devices are counted in `passed`, by reason. Raises DamagedTar where the tar breaks off: a member
    reaches beyond the end, a header is none, the end mark is missing. What stands before is yielded first.
    """
    links: list[tuple[str, TarMember]] = []
    damage = None
    try:
        for info in _headers(file, size):
            if info.isreg():
                yield _member(info)
            elif info.islnk():
                links.append((info.linkname, TarMember(_name(info.name), info.offset, 0, LOST)))
            elif not info.isdir():
                passed["they are symbolic links or devices in a tar"] += 1
    except DamagedTar as error:
        damage = error
    yield from _resolved(links, file, size)
    if damage is not None:
        raise damage


def read_sparse(file: BinaryIO, offset: int) -> bytes:
    """Return the bytes of the sparse member whose header stands at an offset; raises OSError or tarfile.TarError."""
    file.seek(offset)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        info = archive.next()
        content = archive.extractfile(info) if info is not None else None
        if content is None:
            raise tarfile.ReadError("no member stands there")
        return content.read()


def key_and_part(name: str) -> tuple[str, str]:
    """Return key and part of a member as webdataset does: `a/b.c.JPG` is `c.jpg` of `a/b`; `README` has no key."""
    folder, slash, base = name.rpartition("/")
    stem, dot, part = base.partition(".")
    is_meta = not folder and name.startswith("__") and name.endswith("__")
    return (f"{folder}{slash}{stem}", part.lower()) if stem and dot and not is_meta else ("", "")


def member_uri(tar: str, member: TarMember) -> str:
    """Return the uri of a member, or with no name of the place where a tar breaks off."""
    return f"{tar}#{member.offset}{member.form}:{member.name}"


def split_member(uri: str, size: int = 0) -> tuple[str, TarMember] | None:
    """Return tar and member of a member's uri, the size being the plan's; None for another uri."""
    match = _MEMBER.fullmatch(uri)
    if match is None:
        return None
    return match["tar"], TarMember(match["name"], int(match["offset"]), size, cast(Form, match["form"].lower()))


def _headers(file: BinaryIO, size: int) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of a tar, and of those that stand behind its end mark; raises DamagedTar."""
    offset: int | None = 0
    while offset is not None:
        end = offset
        file.seek(offset)
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                while (info := archive.next()) is not None:
                    # A tar of millions of members must not become a list of them.
                    archive.members.clear()  # type: ignore[attr-defined]
                    if info.offset_data + _stored_size(info) > size:
                        raise DamagedTar(end)
                    end = archive.offset  # type: ignore[attr-defined]
                    yield info
        except tarfile.TarError as error:
            raise DamagedTar(end) from error
        # tarfile takes a header that is none for the end.
        file.seek(end)
        if file.read(BLOCK) != bytes(BLOCK):
            raise DamagedTar(end)
        offset = _next_block(file, end)


def _stored_size(info: tarfile.TarInfo) -> int:
    """Return how many bytes of a member are in the tar, in which a sparse one has none of its holes."""
    pieces = cast(list[tuple[int, int]] | None, info.sparse)
    return sum(length for _, length in pieces) if pieces is not None else info.size


def _next_block(file: BinaryIO, end: int) -> int | None:
    """Return the offset of the first block behind an end mark that is not zeros; None where there is none."""
    offset = end + BLOCK
    file.seek(offset)
    while chunk := file.read(_CHUNK):
        zeros = len(chunk) - len(chunk.lstrip(b"\0"))
        if zeros < len(chunk):
            return offset + zeros // BLOCK * BLOCK
        offset += len(chunk)
    return None


def _resolved(links: list[tuple[str, TarMember]], file: BinaryIO, size: int) -> Iterator[TarMember]:
    """Yield hard links with the bytes of the last member before them that has the name they lead to, read for that."""
    if not links:
        return
    wanted = {target for target, _ in links}
    targets: dict[str, list[tuple[int, TarMember | str]]] = {}
    try:
        for info in _headers(file, size):
            if info.name in wanted and (info.isreg() or info.islnk()):
                target = _member(info) if info.isreg() else info.linkname
                targets.setdefault(info.name, []).append((info.offset, target))
    except DamagedTar:
        pass  # told by whoever reads the headers first
    for name, link in links:
        target, before = cast(TarMember | str, name), link.offset
        while isinstance(target, str):
            earlier = [entry for entry in targets.get(target, []) if entry[0] < before]
            if not earlier:
                break
            before, target = earlier[-1]
        yield replace(target, name=link.name) if isinstance(target, TarMember) else link


def _member(info: tarfile.TarInfo) -> TarMember:
    if info.sparse is not None:
        return TarMember(_name(info.name), info.offset, info.size, SPARSE)
    return TarMember(_name(info.name), info.offset_data, info.size)


def _name(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
