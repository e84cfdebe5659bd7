"""How right a relative depth map is: aligned to the truth by least squares, then AbsRel and delta1.

Eigen et al. 2014 for the metrics, Ranftl et al. 2020 for the alignment, Marigold (arXiv 2312.02145) for what is clipped
when.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from onegen.errors import SampleError

Mode = Literal["depth", "disparity"]
MODES: tuple[Mode, ...] = ("depth", "disparity")
_LEAST_DEPTH, _LEAST_DISPARITY = 1e-6, 1e-3
_DELTA = 1.25


@dataclass(frozen=True, slots=True)
class DepthScore:
    """Errors of a map against the truth, and the scale and shift that brought it there."""

    abs_rel: float
    delta1: float
    scale: float
    shift: float


def score_depth(
    prediction: np.ndarray, truth: np.ndarray, valid: np.ndarray, clip: tuple[float, float], mode: Mode
) -> DepthScore:
    """Return the score of a map (H,W) against depth (H,W) in metres, over `valid` (H,W) alone.

    `clip` (metres) bounds the aligned map. Mode `depth` fits it to the depth; `disparity` fits what is above 0 of it to
    1 / depth and inverts. What lies outside the mask, NaN included, counts for nothing. Raises SampleError: `size` for
    another shape, `no_truth` for an empty mask, `not_finite`, and `no_disparity` where nothing of it is above 0.
    """
    if prediction.shape != truth.shape:
        raise SampleError("size", f"depth map must be {truth.shape} (height, width), got {prediction.shape}.")
    mask = np.asarray(valid, bool)
    if not mask.any():
        raise SampleError("no_truth", "truth must have a valid pixel, got none.")
    predicted, true = prediction[mask].astype(np.float64), truth[mask].astype(np.float64)
    if not np.isfinite(predicted).all():
        bad = int((~np.isfinite(predicted)).sum())
        raise SampleError("not_finite", f"depth map must be finite where the truth is valid, got {bad} pixels NaN.")
    scale, shift = _fit_disparity(predicted, true) if mode == "disparity" else _least_squares(predicted, true)
    aligned = scale * predicted + shift
    if mode == "disparity":
        aligned = 1.0 / np.maximum(aligned, _LEAST_DISPARITY)
    aligned = np.maximum(np.clip(aligned, *clip), _LEAST_DEPTH)
    abs_rel = float(np.mean(np.abs(aligned - true) / true))
    delta1 = float(np.mean(np.maximum(aligned / true, true / aligned) < _DELTA))
    return DepthScore(abs_rel, delta1, scale, shift)


def _fit_disparity(predicted: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    positive = predicted > 0
    if not positive.any():
        raise SampleError("no_disparity", "inverse depth map must be above 0 somewhere in the mask, got nowhere.")
    return _least_squares(predicted[positive], 1.0 / true[positive])


def _least_squares(values: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Return scale and shift that bring values nearest to targets; of a constant, the least of the solutions."""
    system = np.stack([values, np.ones_like(values)], axis=1)
    scale, shift = np.linalg.lstsq(system, targets, rcond=None)[0]
    return float(scale), float(shift)
