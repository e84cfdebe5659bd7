"""Boxes as (x0, y0, x1, y1) in pixels: how records hold them, letterboxing, overlap, non-maximum suppression."""

from collections.abc import Iterable, Mapping
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from onegen.pixels.sizes import fit

Box = tuple[float, float, float, float]
CORNERS = ("x0", "y0", "x1", "y1")
"""The fields of a box in a record: left, top, right and bottom, in pixels of the stored image."""
BOX_FIELDS = tuple((name, pa.float64()) for name in CORNERS)
"""The same as fields of an arrow struct."""


def box_of(record: Mapping[str, Any]) -> Box:
    """Return the box of a record."""
    return record["x0"], record["y0"], record["x1"], record["y1"]


def box_fields(box: Iterable[float]) -> dict[str, float]:
    """Return a box as the fields a record holds it in."""
    return dict(zip(CORNERS, box, strict=True))


def letterbox(pixels: np.ndarray, side: int, fill: int = 127) -> tuple[np.ndarray, float]:
    """Return `pixels` (H,W,3) shrunk or enlarged into the upper left of a `side` x `side` square, and its scale.

    A point (x, y) of the square is (x / scale, y / scale) in the image. What the image does not cover has the grey
    `fill`.
    """
    scale, size = fit(pixels.shape, side, enlarge=True)
    square = np.full((side, side, 3), fill, np.uint8)
    square[: size[1], : size[0]] = cv2.resize(
        pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    return square, scale


def area(boxes: np.ndarray) -> np.ndarray:
    """Return the areas of boxes (N,4); a box turned inside out has none."""
    return np.clip(boxes[:, 2] - boxes[:, 0], 0, None) * np.clip(boxes[:, 3] - boxes[:, 1], 0, None)


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return intersection over union of each of `boxes` (N,4) with each of `others` (M,4): (N,M) in [0, 1]."""
    low = np.maximum(boxes[:, np.newaxis, :2], others[np.newaxis, :, :2])
    high = np.minimum(boxes[:, np.newaxis, 2:], others[np.newaxis, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    union = area(boxes)[:, np.newaxis] + area(others)[np.newaxis] - shared
    return shared / np.maximum(union, 1e-9)


def suppress(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, same: float, any_: float) -> list[int]:
    """Return the indices kept by greedy non-maximum suppression, best score first (ties: first in order).

    A box goes when it overlaps a better one by more than `same` (IoU) and has its label, or by more than `any_` at all.
    """
    order = np.argsort(-scores, kind="stable")
    overlaps = iou(boxes, boxes)
    kept: list[int] = []
    for index in order:
        limits = np.where(labels[kept] == labels[index], same, any_) if kept else np.empty(0)
        if not np.any(overlaps[index, kept] > limits):
            kept.append(int(index))
    return kept
