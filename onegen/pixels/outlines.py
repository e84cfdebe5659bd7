"""Masks as COCO writes them: polygons, and runs of pixels down the columns, plain or packed into text.

https://cocodataset.org/#format-data; the packed form is that of COCO's own tools: each number is a series of characters
from `0` on, six bits each: five of the number, lowest first, and one that says that more follow; from the fourth
number on it is the difference to the one before the last.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

_FIRST, _BITS = 48, 5


def polygon_mask(polygon: Sequence[float], shape: tuple[int, int]) -> np.ndarray:
    """Return bool (H,W) of `shape`: the pixels whose centres a polygon x0, y0, x1, y1, ... holds, by the even-odd rule.

    Raises ValueError for less than three points, and numbers that are odd in number or not finite.
    """
    points = np.asarray(polygon, np.float64)
    if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
        raise ValueError(f"polygon must be three points or more, x and y by turns, got {list(polygon)[:8]}")
    x, y = points[0::2], points[1::2]
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    mask = np.zeros(shape, bool)
    first, last = np.clip([np.ceil(y.min() - 0.5), np.ceil(y.max() - 0.5)], 0, shape[0]).astype(int)
    for row in range(first, last):
        centre = row + 0.5
        crosses = (y <= centre) != (next_y <= centre)
        share = (centre - y[crosses]) / (next_y[crosses] - y[crosses])
        places = np.sort(x[crosses] + share * (next_x[crosses] - x[crosses]))
        columns = np.clip(np.ceil(places - 0.5), 0, shape[1]).astype(int)
        for start, end in zip(columns[0::2], columns[1::2], strict=True):
            mask[row, start:end] = True
    return mask


def runs_mask(runs: Any, shape: tuple[int, int]) -> np.ndarray:
    """Return bool (H,W) of `shape`: runs {counts, size} of pixels outside and inside by turns, down the columns.

    `counts` are numbers or text. Raises ValueError where they are no runs of this shape.
    """
    size, counts = runs["size"], runs["counts"]
    if list(size) != list(shape):
        raise ValueError(f"runs must be of a mask of {shape[1]}x{shape[0]}, got {list(size)} (height, width)")
    numbers = unpack_counts(counts) if isinstance(counts, str) else list(counts)
    whole = all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in numbers)
    if not whole or sum(numbers) != shape[0] * shape[1]:
        raise ValueError(f"runs must sum up to the pixels of {shape[1]}x{shape[0]}, got {numbers[:8]}")
    inside = np.arange(len(numbers)) % 2 == 1
    return np.repeat(inside, numbers).reshape(shape[1], shape[0]).T


def unpack_counts(text: str) -> list[int]:
    """Return the numbers that are packed into text; raises ValueError where it breaks off or has other characters."""
    counts: list[int] = []
    place = 0
    while place < len(text):
        number = shift = 0
        more = True
        while more:
            digit = ord(text[place]) - _FIRST if place < len(text) else -1
            if not 0 <= digit < 64:
                raise ValueError(f"runs packed into text must be whole, got {text[:20]!r}")
            number |= (digit & 31) << shift
            more, place, shift = bool(digit & 32), place + 1, shift + _BITS
        if digit & 16:
            number -= 1 << shift  # the highest bit is the sign
        counts.append(number + counts[-2] if len(counts) > 2 else number)
    return counts


def mask_runs(mask: np.ndarray) -> dict[str, Any]:
    """Return a mask bool (H,W) as runs {size, counts}, the counts packed into text: what `runs_mask` reads."""
    pixels = np.concatenate([[False], mask.T.ravel()])
    edges = np.flatnonzero(pixels[1:] != pixels[:-1])
    counts = np.diff(np.concatenate([[0], edges, [mask.size]]))
    return {"size": [int(side) for side in mask.shape], "counts": pack_counts(counts.tolist())}


def pack_counts(counts: Sequence[int]) -> str:
    """Return the numbers of runs packed into text, as `unpack_counts` reads them."""
    text: list[str] = []
    for place, count in enumerate(counts):
        number = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            digit, number = number & 31, number >> _BITS
            # Done where what is left is the sign that the highest of the five bits says.
            more = number != (-1 if digit & 16 else 0)
            text.append(chr(_FIRST + digit + (32 if more else 0)))
    return "".join(text)
