"""One sample as it is stored, whoever read it: what its columns say of each image, and its parts as bytes.

A part is named by the image it is of and its own name: (0, "jpg"), (1, "depth.png"). docs/contract.md, rule 3.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onegen.errors import SampleError
from onegen.pixels.codec import decode_part
from onegen.sample import Encoding, Kind
from onegen.shards.views import OTHERS, PICTURES


@dataclass(frozen=True, slots=True)
class Stored:
    """One sample: `values` by column, as its index has them (`others` included), and `parts` by image and name."""

    dataset: str
    key: str
    kind: Kind
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    parts: Mapping[tuple[int, str], bytes] = field(default_factory=dict)

    def of(self, column: str, image: int = 0) -> Mapping[str, Any]:
        """Return what a column says of one image; empty where it says nothing."""
        values = self.values.get(column) or {}
        others = values.get(OTHERS)
        if not image or not others:
            return values
        if image > len(others):
            raise SampleError("absent", f"column {column!r} must speak of image {image}, got {len(others) + 1} images.")
        other = others[image - 1]
        return {} if other is None else {**values, **other}

    def picture(self, image: int = 0) -> bytes:
        """Return the bytes of a stored image; raises SampleError `absent`."""
        for extension in PICTURES:
            data = self.parts.get((image, extension))
            if data is not None:
                return data
        raise SampleError("absent", f"sample must have image {image}, got none.")

    def map(self, name: str, encoding: Encoding, image: int = 0) -> np.ndarray:
        """Return a map of one image as an array; raises SampleError `absent` or `unreadable_part`."""
        data = self.parts.get((image, name))
        if data is None:
            raise SampleError("absent", f"sample must have the part {name!r} of image {image}, got none.")
        try:
            pixels = np.asarray(decode_part(data, encoding))
        except (OSError, ValueError, SyntaxError) as error:
            raise SampleError("unreadable_part", f"part {name!r} must decode: {error}.") from error
        # OpenCV says of bytes it cannot read that they are None
        if pixels.ndim != 2:
            raise SampleError("unreadable_part", f"part {name!r} must be a map of one channel, and is none.")
        return pixels


def key_number(key: str) -> int:
    """Return the first 16 hex digits of a key as a number; of a key that is none, a hash of it."""
    try:
        return int(key[:16], 16)
    except ValueError:
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
