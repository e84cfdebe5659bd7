import numpy as np
import pytest

from onegen.errors import SampleError
from onegen.eval.metrics.cameras import (
    CHANCE,
    centre_errors,
    chance,
    rotation_accuracy,
    sequence_scale,
    umeyama,
)

ANGLES = np.deg2rad(60 * np.arange(6))


def ring(z):
    return np.stack([np.cos(ANGLES), np.sin(ANGLES), np.asarray(z, float)], axis=1)


TRUE = ring(0.3 * (-1.0) ** np.arange(6))


def test_any_similarity_is_undone():
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    rotation *= np.linalg.det(rotation)
    scale = sequence_scale(TRUE)
    errors = centre_errors(2.5 * TRUE @ rotation.T + [3, -1, 7], TRUE, scale)
    assert round(scale, 6) == 1.044031
    assert errors.max() < 1e-12


def test_one_camera_off():
    moved = TRUE.copy()
    moved[0, 0] += 1
    errors = centre_errors(moved, TRUE, sequence_scale(TRUE))
    assert errors.round(4).tolist() == [0.4398, 0.2726, 0.1914, 0.0750, 0.1914, 0.2726]
    assert round((errors < 0.3).mean(), 4) == 0.8333
    assert round((errors < 0.1).mean(), 4) == 0.1667


def test_mirrored_cameras_stay_wrong():
    true = ring([0.5, 0.1, -0.2, 0.4, -0.3, 0])
    errors = centre_errors(true * [1, 1, -1], true, sequence_scale(true))
    assert round(sequence_scale(true), 4) == 1.0833
    assert errors.round(4).tolist() == [0.4615, 0.2374, 0.4650, 0.8110, 0.4387, 0.2136]
    assert round((errors < 0.3).mean(), 4) == 0.3333


def test_cameras_in_one_place_are_scored_and_do_not_crash():
    errors = centre_errors(np.ones((6, 3)), TRUE, sequence_scale(TRUE))
    assert np.isfinite(errors).all()
    assert (errors > 0.9).all()


def test_cameras_on_a_line_are_aligned():
    # rank 1: how the rest of space is turned cannot be told, the line can
    line = np.outer(np.arange(4.0), [1, 2, 3])
    assert centre_errors(line @ np.diag([-1, -1, 1]) * 3, line, sequence_scale(line)).max() < 1e-9
    assert np.linalg.det(umeyama(line, -line).rotation) == pytest.approx(1)


@pytest.mark.parametrize("count", CHANCE)
def test_the_level_of_chance(count):
    assert chance(count, 0.3, draws=500) == pytest.approx(CHANCE[count], abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("count", CHANCE)
def test_the_level_of_chance_to_the_digits_it_is_printed_with(count):
    half_a_digit = 0.005 if count == 3 else 0.0005  # that of 3 is printed with two
    assert chance(count, 0.3, draws=20_000) == pytest.approx(CHANCE[count], abs=0.005 + half_a_digit)


def test_one_camera_cannot_be_aligned():
    with pytest.raises(SampleError, match="2 or more"):
        centre_errors(TRUE[:1], TRUE[:1], 1.0)
    with pytest.raises(SampleError, match="one place"):
        centre_errors(TRUE, TRUE * 0, 0.0)


def test_rotations_are_compared_in_pairs():
    turned = np.stack([np.eye(3)] * 3)
    assert rotation_accuracy(turned, turned) == 1.0
    angle = np.deg2rad(20)
    off = turned.copy()
    off[0] = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    assert rotation_accuracy(off, turned) == pytest.approx(2 / 6)
