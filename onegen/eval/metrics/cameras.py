"""How right estimated camera positions are, as RayDiffusion (arXiv 2402.14817) measures: aligned, then within a share.

Alignment: Umeyama, PAMI 1991, with the correction that keeps mirror images out.
"""

from dataclasses import dataclass

import numpy as np

from onegen.errors import SampleError

THRESHOLDS = (0.1, 0.2, 0.3)
"""Shares of the scene's radius within which a camera counts as right; the paper reports the last."""
CHANCE = {3: 0.45, 4: 0.216, 6: 0.097, 8: 0.056}
"""Accuracy at 0.3 of cameras guessed on a sphere, by their number (computed once, 10,000 draws)."""
_ROTATION_DEGREES = 15.0


@dataclass(frozen=True, slots=True)
class Similarity:
    """x -> scale * rotation @ x + translation."""

    scale: float
    rotation: np.ndarray
    translation: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Return points (n,3) moved."""
        moved: np.ndarray = self.scale * points @ self.rotation.T + self.translation
        return moved


def umeyama(points: np.ndarray, targets: np.ndarray) -> Similarity:
    """Return the similarity that brings points (n,3) nearest to targets (n,3) without mirroring them.

    Points that lie on one another have scale 0, and go to the middle of the targets.
    """
    centre, aim = points.mean(axis=0), targets.mean(axis=0)
    across, to = points - centre, targets - aim
    u, singular, vt = np.linalg.svd(to.T @ across / len(points))
    signs = np.ones(3)
    if np.linalg.det(u) * np.linalg.det(vt) < 0:
        signs[2] = -1.0
    rotation = u @ np.diag(signs) @ vt
    variance = float((across**2).sum() / len(points))
    scale = float((singular * signs).sum()) / variance if variance > 1e-20 else 0.0
    return Similarity(scale, rotation, aim - scale * rotation @ centre)


def sequence_scale(centres: np.ndarray) -> float:
    """Return the distance from the middle of all cameras (n,3) of a sequence to the farthest of them."""
    return float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).max())


def centre_errors(predicted: np.ndarray, true: np.ndarray, scale: float) -> np.ndarray:
    """Return how far each aligned centre (n,3) lies from the true one, in units of the sequence's scale.

    Raises SampleError `single_camera` below two cameras, `no_extent` for true ones that lie on one another.
    """
    if len(true) < 2:
        raise SampleError("single_camera", f"cameras must be 2 or more to be aligned, got {len(true)}.")
    if not scale > 0:
        raise SampleError("no_extent", "true cameras must lie apart, got all of them in one place.")
    if not np.isfinite(predicted).all():
        raise SampleError("not_finite", "predicted cameras must be finite, got others.")
    aligned = umeyama(predicted, true).apply(predicted)
    errors: np.ndarray = np.linalg.norm(aligned - true, axis=1) / scale
    return errors


def rotation_accuracy(predicted: np.ndarray, true: np.ndarray) -> float:
    """Return the share of ordered pairs whose relative rotation is right within 15 degrees; rotations are (n,3,3)."""
    right = [
        _angle((predicted[a] @ predicted[b].T).T @ (true[a] @ true[b].T)) < _ROTATION_DEGREES
        for a in range(len(true))
        for b in range(len(true))
        if a != b
    ]
    return float(np.mean(right))


def chance(num_cameras: int, threshold: float, draws: int = 2000, seed: int = 0) -> float:
    """Return the accuracy of cameras guessed at random on a sphere, against true ones at random on it."""
    rng = np.random.default_rng(seed)
    right = 0.0
    for _ in range(draws):
        true, guessed = (_on_sphere(rng, num_cameras) for _ in range(2))
        right += float((centre_errors(guessed, true, sequence_scale(true)) < threshold).mean())
    return right / draws


def _on_sphere(rng: np.random.Generator, count: int) -> np.ndarray:
    points = rng.normal(size=(count, 3))
    unit: np.ndarray = points / np.linalg.norm(points, axis=1, keepdims=True)
    return unit


def _angle(rotation: np.ndarray) -> float:
    """Return the angle of a rotation (3,3) in degrees."""
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1.0) / 2.0, -1.0, 1.0))))
