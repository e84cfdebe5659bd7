"""How good the embedded depth is, beside the guess that what is lower in the picture is nearer.

    python -m onegen.annotators.depth.training.evaluate

Two tests, neither trained on: the stereo motorcycle of scikit-image (500x741, Middlebury 2014, true disparity), and 60
made-up scenes of seeds, textures, meshes and a cut-out that were held out (64x64; the builders of furniture, figures
and vehicles and the backdrops are those of training). Spearman's rank correlation; AbsRel is the mean of
|predicted - true| / true after the affine map from predicted to true inverse depth that fits best by least squares,
over pixels whose true inverse depth is at least 5 % of the picture's largest.
"""

import io
import tempfile
import zipfile
from pathlib import Path

import cv2
import numpy as np

from onegen.annotators.depth.embedded import inverse_depth
from onegen.annotators.depth.training.materials import materials
from onegen.annotators.depth.training.scenes import scene
from onegen.demo.photos import PHOTOS
from onegen.weights.packages import download

HELD_OUT_SEED = 1_000_000
"""Seeds from here on are never trained on."""


def spearman(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Return the rank correlation of two arrays of one shape; equal values share the mean of their ranks."""
    return float(np.corrcoef(_ranks(predicted.ravel()), _ranks(truth.ravel()))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def aligned_abs_rel(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean of |a predicted + b - true| / true with a and b by least squares; `truth` is above zero."""
    columns = np.stack([predicted.ravel(), np.ones(predicted.size)], axis=1)
    fit, *_ = np.linalg.lstsq(columns, truth.ravel(), rcond=None)
    return float((np.abs(columns @ fit - truth.ravel()) / truth.ravel()).mean())


def compared(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return Spearman and AbsRel of a map, then both of the row number, where the truth is known and not too far."""
    rows = np.broadcast_to(np.arange(truth.shape[0], dtype=np.float64)[:, np.newaxis], truth.shape)
    known = np.isfinite(truth) & (truth > 0)
    known &= truth >= 0.05 * truth[known].max()
    return np.array(
        [measure(map_[known], truth[known]) for map_ in (predicted, rows) for measure in (spearman, aligned_abs_rel)]
    )


def motorcycle() -> tuple[np.ndarray, np.ndarray]:
    """Return the left picture, RGB uint8 (500,741,3), and its true disparity in pixels, infinite where unknown."""
    package = next(package for package in PHOTOS if package.name == "scikit-image")
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(download(package, Path(folder))) as archive:
        picture = np.frombuffer(archive.read("skimage/data/motorcycle_left.png"), np.uint8)
        with np.load(io.BytesIO(archive.read("skimage/data/motorcycle_disp.npz"))) as file:
            disparity = file["arr_0"]
    return np.asarray(cv2.imdecode(picture, cv2.IMREAD_COLOR))[:, :, ::-1].copy(), disparity


def held_out(count: int) -> np.ndarray:
    """Return the mean figures of `compared` over made-up scenes that were not trained on."""
    material = materials(held_out=True)
    figures = []
    for seed in range(HELD_OUT_SEED, HELD_OUT_SEED + count):
        view = scene(seed, material)
        truth = view.inverse_depth
        if truth.std() > 1e-3 and (truth > 0.05 * truth.max()).sum() > 400:
            predicted = cv2.resize(inverse_depth(view.picture), truth.shape[::-1], interpolation=cv2.INTER_AREA)
            figures.append(compared(predicted, truth.astype(np.float64)))
    return np.mean(figures, axis=0)


def main() -> int:
    """Run the command; return its exit code."""
    picture, disparity = motorcycle()
    print(f"{'':24}{'Spearman':>10}{'AbsRel':>8}   {'row number: Spearman':>20}{'AbsRel':>8}")
    _show("stereo motorcycle", compared(inverse_depth(picture), disparity))
    _show("60 held-out scenes", held_out(60))
    return 0


def _show(name: str, figures: np.ndarray) -> None:
    print(f"{name:24}{figures[0]:10.3f}{figures[1]:8.3f}   {figures[2]:20.3f}{figures[3]:8.3f}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
