"""How far two pictures are apart, pixel by pixel: mean squared error, PSNR, SSIM."""

import math

import numpy as np

PSNR_CAP = 100.0
"""Decibels that two equal pictures have, whose PSNR is infinite: no mean could be taken over it."""


def mse(picture: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean squared difference of two arrays of one shape, in the unit of their values squared."""
    return float(np.mean((picture.astype(np.float64) - truth.astype(np.float64)) ** 2))


def psnr(error: float, value_range: float) -> float:
    """Return decibels of a mean squared error between pictures whose values span `value_range`, at most PSNR_CAP."""
    if error <= 0.0:
        return PSNR_CAP
    return min(PSNR_CAP, 10.0 * math.log10(value_range**2 / error))


def ssim(picture: np.ndarray, truth: np.ndarray) -> float:
    """Return SSIM of two uint8 (H,W,3) pictures by scikit-image's defaults: windows of 7 pixels, by channel."""
    from skimage.metrics import structural_similarity

    return float(structural_similarity(picture, truth, channel_axis=2))


def gaussian_ssim(picture: np.ndarray, truth: np.ndarray) -> float:
    """Return SSIM of two float (H,W,3) pictures in [0, 1] as torchmetrics computes it: Gaussian windows of 11 pixels.

    Every pixel is the middle of a window; beyond the border the picture is mirrored, its outermost pixels once.
    """
    from skimage.metrics import structural_similarity

    reach = 5
    around = ((reach, reach), (reach, reach), (0, 0))
    _, similarity = structural_similarity(
        np.pad(picture, around, mode="reflect"),
        np.pad(truth, around, mode="reflect"),
        channel_axis=2,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    return float(similarity[reach:-reach, reach:-reach].mean())
