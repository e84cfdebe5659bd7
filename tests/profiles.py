"""Colour profiles as small as they can be: RGB of any primaries and gamma, grey of any gamma, a CMYK of dull inks."""

import itertools
import struct

WIDE = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))
"""Red, green and blue of Adobe RGB (1998) as XYZ under D50."""


def rgb_profile(gamma: float = 2.2, primaries: tuple[tuple[float, ...], ...] = WIDE) -> bytes:
    """Return a profile of RGB."""
    tags = {f"{name}XYZ": _xyz(*primary) for name, primary in zip("rgb", primaries, strict=True)}
    return _profile("mntr", "RGB ", "XYZ ", tags | {f"{name}TRC": _gamma(gamma) for name in "rgb"})


def grey_profile(gamma: float) -> bytes:
    """Return a profile of grey."""
    return _profile("mntr", "GRAY", "XYZ ", {"kTRC": _gamma(gamma)})


def cmyk_profile() -> bytes:
    """Return a profile of CMYK whose inks are duller than the pure colours a reader without it takes them for."""
    ramp = bytes(range(256))
    corners = b"".join(bytes(_lab(*inks)) for inks in itertools.product((0, 1), repeat=4))
    identity = struct.pack(">9i", *(round(65536 * value) for value in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + corners + ramp * 3
    return _profile("prtr", "CMYK", "Lab ", {"A2B0": table})


def _lab(cyan: int, magenta: int, yellow: int, black: int) -> tuple[int, int, int]:
    light = max(20, 255 - 60 * cyan - 70 * magenta - 15 * yellow - 170 * black)
    scale = 0 if black else 1
    a, b = scale * (40 * magenta - 25 * cyan), scale * (50 * yellow - 25 * cyan)
    return light, 128 + a, 128 + b


def _profile(device: str, space: str, connection: str, tags: dict[str, bytes]) -> bytes:
    tags = {
        "desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"t\0" + bytes(78),
        "wtpt": _xyz(0.9642, 1, 0.8249),
        **tags,
    }
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name.encode() + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4xI", offset + len(body), 0x02400000) + (device + space + connection).encode()
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(0.9642, 1, 0.8249)
    return head + bytes(128 - len(head)) + table + body


def _xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values)


def _gamma(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(256 * gamma)) + bytes(2)


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(65536 * value) for value in values))
