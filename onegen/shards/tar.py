"""Write deterministic USTAR archives: the same parts always give the same bytes.

mtime 0, uid and gid 0, mode 0644, no owner names; a PAX record only where a name does not fit. Every reader of tar
files (`tarfile`, webdataset, HF `datasets`, Megatron-Energon) reads them. docs/contract.md, rules 2 and 3.
"""

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import BinaryIO, NamedTuple

BLOCK = 512
_END = bytes(2 * BLOCK)
_ZEROS = bytes(BLOCK)
_MAX_SIZE = 8**11 - 1
_NAME_BYTES = 100
_WRITE_BYTES = 512 * 1024
"""Samples are held back until they fill one large write, which the kernel takes at 3/4 of the cost of many small ones;
a larger one would leave the processor's cache between joining, hashing and writing."""
_KEY = re.compile(r"[0-9a-z_-]+")
_PART = re.compile(r"[0-9a-z][0-9a-z_-]*(\.[0-9a-z_-]+)*")

# name[100] | mode uid gid | size[12] | mtime | checksum[8] | type and the rest; the checksum counts itself as spaces.
_OWNER = b"0000644\0" + b"0000000\0" * 2
_MTIME = b"00000000000\0"
_REST = bytes(100) + b"ustar\00000" + bytes(64) + b"0000000\0" * 2 + bytes(155 + 12)
_FIXED_SUM = sum(_OWNER) + sum(_MTIME) + sum(_REST) + 8 * ord(" ") + ord("0")


class Member(NamedTuple):
    """One part in an archive: its name after the key, where its bytes start, how many, and their SHA-256.

    A tuple, since a shard makes thousands of them and a dataclass takes four times as long to fill.
    """

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
        self._pieces: list[bytes] = []
        self._pending_bytes = 0
        self.size = 0

    def add(self, key: str, parts: Mapping[str, bytes], known: Mapping[str, str] | None = None) -> list[Member]:
        """Write the parts of one sample, contiguous and in the given order; return where they are.

        `known` gives, by name, the SHA-256 of the bytes of some or all of the parts, which is taken on trust; a part
        that it lacks is hashed here.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f"key must hold only [0-9a-z_-], got {key!r}.")
        if key in self._keys:
            raise ValueError(f"key must be written once per shard, got {key!r} again.")
        self._keys.add(key)
        known = known or {}
        pieces: list[bytes] = []
        members: list[Member] = []
        offset = self.size
        prefix = key.encode()
        prefix_sum = sum(prefix)
        for name, data in parts.items():
            suffix, suffix_sum = _suffix(name)
            size = len(data)
            if len(prefix) + len(suffix) > _NAME_BYTES:
                head = header(f"{key}.{name}", size)
            else:
                head = _block(prefix + suffix, size, prefix_sum + suffix_sum)
            digest = known.get(name) or hashlib.sha256(data).hexdigest()
            offset += len(head)
            members.append(Member(name, offset, size, digest))
            padding = -size % BLOCK
            pieces += head, data, _ZEROS[:padding]
            offset += size + padding
        self._pieces += pieces
        self._pending_bytes += offset - self.size
        self.size = offset
        if self._pending_bytes >= _WRITE_BYTES:
            self._write()
        return members

    def flush(self) -> None:
        """Hand what was added so far to the operating system: it outlives this process."""
        self._write()
        self._file.flush()

    def close(self) -> str:
        """Write what is held back and the end of the archive; return the SHA-256 of all of it. The file stays open."""
        self._pieces.append(_END)
        self.size += len(_END)
        self._write()
        return self._hash.hexdigest()

    def _write(self) -> None:
        blob = b"".join(self._pieces)
        self._pieces, self._pending_bytes = [], 0
        self._file.write(blob)
        self._hash.update(blob)


def header(name: str, size: int) -> bytes:
    """Return the header block of a file, with a PAX record before it where the name is not ASCII or over 100 bytes."""
    encoded = name.encode("ascii", "replace")
    fits = name.isascii() and len(encoded) <= _NAME_BYTES
    block = _block(encoded[:_NAME_BYTES], size, sum(encoded[:_NAME_BYTES]))
    return block if fits else _pax(name) + block


@lru_cache(maxsize=1024)
def _suffix(name: str) -> tuple[bytes, int]:
    """Return what follows the key in a member's name, and its share of the checksum; a shard has few part names."""
    if not _PART.fullmatch(name):
        raise ValueError(f"part name must be lower-case letters, digits, - and _ with single dots, got {name!r}.")
    encoded = f".{name}".encode()
    return encoded, sum(encoded)


def _block(name: bytes, size: int, name_sum: int) -> bytes:
    if size > _MAX_SIZE:
        raise ValueError(f"part must be smaller than 8 GiB, got {size} bytes for {name.decode()!r}.")
    length = b"%011o\0" % size
    checksum = b"%06o\0 0" % (_FIXED_SUM + name_sum + sum(length))
    return name.ljust(_NAME_BYTES, b"\0") + _OWNER + length + _MTIME + checksum + _REST


def _pax(name: str) -> bytes:
    text = b" path=" + name.encode() + b"\n"
    # The record's length counts its own digits, so it is found by trying.
    length = next(n for n in range(len(text), len(text) + 12) if len(str(n)) + len(text) == n)
    record = str(length).encode() + text
    block = bytearray(_block(b"././@PaxHeader", len(record), 0))
    block[156:157] = b"x"
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 8 * ord(" "))
    return bytes(block) + record + bytes(-len(record) % BLOCK)
