import numpy as np
import pytest

from onegen.pixels.closeness import PSNR_CAP, gaussian_ssim, mse, psnr, ssim

TRUTH = np.random.default_rng(0).integers(0, 200, (64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(("levels", "decibels"), [(0, PSNR_CAP), (1, 48.1308), (10, 28.1308), (25, 20.172)])
def test_levels_in_decibels(levels, decibels):
    assert psnr(mse(TRUTH + levels, TRUTH), 255) == pytest.approx(decibels, abs=5e-5)


def test_equal_pictures_have_ssim_one_and_noise_has_little():
    noise = np.random.default_rng(1).integers(0, 255, TRUTH.shape, dtype=np.uint8)
    assert ssim(TRUTH, TRUTH) == 1.0
    assert ssim(noise, TRUTH) < 0.1
    assert gaussian_ssim(TRUTH / 255, TRUTH / 255) == pytest.approx(1.0)
    assert gaussian_ssim(noise / 255, TRUTH / 255) < 0.1


def test_gaussian_windows_are_those_of_torchmetrics():
    # computed once with torchmetrics 1.9.0, in float32
    rng = np.random.default_rng(0)
    truth = rng.random((128, 128, 3))
    picture = np.clip(truth + rng.normal(size=truth.shape) * 0.1, 0, 1)
    assert gaussian_ssim(picture, truth) == pytest.approx(0.9453228, abs=2e-6)
