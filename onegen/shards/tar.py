"""Write deterministic USTAR archives: the same parts always give the same bytes.

mtime 0, uid and gid 0, mode 0644, no owner names; a PAX record only where a name does not fit. Every reader of tar
files (`tarfile`, webdataset, HF `datasets`, Megatron-Energon) reads them. DESIGN section 4, rules 2 and 3.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = 512
_END = bytes(2 * BLOCK)
_ZEROS = bytes(BLOCK)
_MAX_SIZE = 8**11 - 1
_KEY = re.compile(r"[0-9a-z_-]+")
_PART = re.compile(r"[0-9a-z][0-9a-z_-]*(\.[0-9a-z_-]+)*")

# name[100] | mode uid gid | size[12] | mtime | checksum[8] | type and the rest; the checksum counts itself as spaces.
_OWNER = b"0000644\0" + b"0000000\0" * 2
_MTIME = b"00000000000\0"
_REST = bytes(100) + b"ustar\00000" + bytes(64) + b"0000000\0" * 2 + bytes(155 + 12)
_FIXED_SUM = sum(_OWNER) + sum(_MTIME) + sum(_REST) + 8 * ord(" ")


@dataclass(frozen=True, slots=True)
class Member:
    """One part in an archive: its name after the key, where its bytes start, how many, and their SHA-256."""

    name: str
    offset: int
    size: int
    sha256: str


class TarWriter:
    """Append samples to an archive and remember where every part lies.

    Keys may hold only `[0-9a-z_-]` (readers group members by the text before the first dot) and come once each; parts
    are `name.extension` in lower case, since webdataset folds them and keeps names in `__` for itself. ValueError
    otherwise: the caller made the names.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._keys: set[str] = set()
        self.size = 0

    def add(self, key: str, parts: Mapping[str, bytes], known: Mapping[str, str] | None = None) -> list[Member]:
        """Write the parts of one sample, contiguous and in the given order; return where they are.

        `known` gives SHA-256 digests already verified for parts copied from another shard, by part name.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f"key must hold only [0-9a-z_-], got {key!r}.")
        if key in self._keys:
            raise ValueError(f"key must be written once per shard, got {key!r} again.")
        self._keys.add(key)
        pieces: list[bytes] = []
        members: list[Member] = []
        offset = self.size
        for name, data in parts.items():
            if not _PART.fullmatch(name):
                raise ValueError(
                    f"part name must be lower-case letters, digits, - and _ with single dots, got {name!r}."
                )
            head, size = header(f"{key}.{name}", len(data)), len(data)
            pieces += head, data, _ZEROS[: -size % BLOCK]
            digest = known[name] if known else hashlib.sha256(data).hexdigest()
            members.append(Member(name, offset + len(head), size, digest))
            offset += len(head) + size + -size % BLOCK
        # One write and one hash update a sample: half the Python cost of one for each piece.
        blob = b"".join(pieces)
        self._file.write(blob)
        self._hash.update(blob)
        self.size = offset
        return members

    def close(self) -> str:
        """Write the end of the archive and return the SHA-256 of the whole file; the file stays open."""
        self._file.write(_END)
        self._hash.update(_END)
        self.size += len(_END)
        return self._hash.hexdigest()


def header(name: str, size: int) -> bytes:
    """Return the header block of a file, with a PAX record before it where the name is not ASCII or over 100 bytes."""
    if size > _MAX_SIZE:
        raise ValueError(f"part must be smaller than 8 GiB, got {size} bytes for {name!r}.")
    try:
        encoded = name.encode("ascii")
    except UnicodeEncodeError:
        return _pax(name) + _block(name.encode("ascii", "replace")[:100], size)
    if len(encoded) > 100:
        return _pax(name) + _block(encoded[:100], size)
    return _block(encoded, size)


def _block(name: bytes, size: int) -> bytes:
    length = b"%011o\0" % size
    checksum = b"%06o\0 " % (_FIXED_SUM + ord("0") + sum(name) + sum(length))
    return name.ljust(100, b"\0") + _OWNER + length + _MTIME + checksum + b"0" + _REST


def _pax(name: str) -> bytes:
    text = b" path=" + name.encode() + b"\n"
    # The record's length counts its own digits, so it is found by trying.
    length = next(n for n in range(len(text), len(text) + 12) if len(str(n)) + len(text) == n)
    record = str(length).encode() + text
    block = bytearray(_block(b"././@PaxHeader", len(record)))
    block[156:157] = b"x"
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 8 * ord(" "))
    return bytes(block) + record + bytes(-len(record) % BLOCK)
