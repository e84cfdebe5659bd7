import numpy as np
import pytest

from onegen.errors import SampleError
from onegen.eval.metrics.depth import score_depth

CLIP = (1e-3, 10.0)
X = np.broadcast_to(np.arange(640.0), (480, 640))
TRUTH = 1 + 4 * X / 639
MASK = np.zeros((480, 640), bool)
MASK[45:471, 41:601] = True


def score(prediction, mode="depth", truth=TRUTH):
    return score_depth(prediction, truth, MASK, CLIP, mode)


def test_the_crop_is_eigens():
    assert MASK.sum() == 238_560


def test_an_affine_copy_is_perfect():
    got = score(0.37 * TRUTH - 0.2)
    assert (got.abs_rel, got.delta1) == (pytest.approx(0, abs=1e-12), 1.0)
    assert (round(got.scale, 6), round(got.shift, 6)) == (2.702703, 0.540541)


def test_perfect_inverse_depth_is_perfect_in_disparity_alone():
    inverse = 3 / TRUTH + 0.1
    in_depth = score(inverse)
    assert (round(in_depth.abs_rel, 6), round(in_depth.delta1, 6)) == (0.113522, 0.928571)
    assert (round(in_depth.scale, 6), round(in_depth.shift, 6)) == (-2.106953, 5.622485)
    got = score(inverse, "disparity")
    assert (got.abs_rel, got.delta1) == (pytest.approx(0, abs=1e-9), 1.0)


def test_two_steps():
    got = score(np.where(X < 320, 2.0, 4.0))
    assert (round(got.abs_rel, 6), round(got.delta1, 6)) == (0.170405, 0.742857)
    assert (round(got.scale, 6), round(got.shift, 6)) == (0.876369, 0.374022)


def test_a_constant_is_scored_by_whichever_solution():
    got = score(np.full_like(TRUTH, 7.0))
    assert (round(got.abs_rel, 6), round(got.delta1, 6)) == (0.356242, 0.385714)


def test_nan_outside_the_mask_changes_nothing():
    prediction = np.where(X < 320, 2.0, 4.0)
    holed, truth = prediction.copy(), TRUTH.copy()
    holed[~MASK] = np.nan
    truth[~MASK] = np.nan
    assert score(holed, truth=truth) == score(prediction)
    assert score(holed, "disparity", truth) == score(prediction, "disparity")


@pytest.mark.parametrize(
    ("prediction", "mode", "reason"),
    [
        (np.ones((479, 640)), "depth", "size"),
        (np.full((480, 640), np.nan), "depth", "not_finite"),
        (-TRUTH, "disparity", "no_disparity"),
    ],
)
def test_bad_maps_say_why(prediction, mode, reason):
    with pytest.raises(SampleError) as caught:
        score(prediction, mode)
    assert caught.value.reason == reason


def test_a_picture_without_truth_is_no_number():
    with pytest.raises(SampleError) as caught:
        score_depth(TRUTH, TRUTH, np.zeros_like(MASK), CLIP, "depth")
    assert caught.value.reason == "no_truth"


@pytest.mark.parametrize(
    ("clip", "abs_rel", "delta1"),
    # of five pixels at 0.3, 1, 2, 8 and 400 m, those beyond the bounds are wrong by (bound - truth) / truth
    [((1e-3, 10.0), 0.975 / 5, 4 / 5), ((0.6, 350.0), (1 + 0.125) / 5, 4 / 5)],
)
def test_an_aligned_map_is_clipped_to_what_the_set_may_have(clip, abs_rel, delta1):
    truth = np.array([[0.3, 1.0, 2.0, 8.0, 400.0]])
    got = score_depth(2 * truth + 1, truth, np.ones_like(truth, bool), clip, "depth")
    assert got.abs_rel == pytest.approx(abs_rel, abs=1e-9)
    assert got.delta1 == pytest.approx(delta1)
