"""Small generated photos and the recipes that build them, for benchmarks of the machinery around annotators."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np


def write_photos(root: Path, count: int, side: int = 64) -> None:
    """Write `count` different JPEG files of `side` x `side` pixels, a few KB each."""
    root.mkdir(parents=True)
    random = np.random.default_rng(count)
    for number in range(count):
        coarse = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        pixels = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        pixels = cv2.add(pixels, random.integers(0, 12, (side, side, 3), dtype=np.uint8))
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])
        (root / f"{number:06d}.jpg").write_bytes(data.tobytes())


def make_recipe(
    photos: Path, samples_per_shard: int, stages: Sequence[dict[str, Any]] = (), pack: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return a recipe over a folder of photos; without `pack` it stops at the columns."""
    return {
        "name": "generated",
        "source": {"folder": str(photos)},
        "samples_per_shard": samples_per_shard,
        "stages": list(stages),
        "pack": None if pack is None else {"columns": list(pack)},
    }
