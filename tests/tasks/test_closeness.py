import numpy as np
import pytest

from onegen.tasks.closeness import (
    box_recall,
    edge_f1,
    mean_difference,
    mean_iou,
    pose_similarity,
    reduced,
    spearman,
)

EDGES = np.zeros((32, 32), bool)
EDGES[10, 4:28] = True
BOX = {"label": "cat", "x0": 0.0, "y0": 0.0, "x1": 10.0, "y1": 10.0}


def test_edges_within_a_pixel_are_right_and_two_pixels_off_are_not():
    assert edge_f1(EDGES, EDGES) == 1.0
    assert edge_f1(np.roll(EDGES, 1, axis=0), EDGES) == 1.0
    assert edge_f1(np.roll(EDGES, 2, axis=0), EDGES) == 0.0


def test_f1_is_of_precision_and_recall():
    half = EDGES.copy()
    half[:, 16:] = False
    # 12 of 24 pixels, and one more that lies within a pixel of them
    assert edge_f1(half, EDGES) == pytest.approx(2 * (13 / 24) / (1 + 13 / 24))
    assert edge_f1(EDGES * False, EDGES) == 0.0
    assert edge_f1(EDGES * False, EDGES * False) is None


def test_ranks_do_not_care_for_scale_and_do_for_order():
    rng = np.random.default_rng(0)
    map_ = rng.random((16, 16))
    assert spearman(np.exp(3 * map_), map_) == pytest.approx(1.0)
    assert spearman(-map_, map_) == pytest.approx(-1.0)
    assert spearman(np.ones_like(map_), map_) is None
    scipy = pytest.importorskip("scipy.stats")
    coarse = np.round(map_, 1)
    assert spearman(coarse, rng.random((16, 16))) is not None
    assert spearman(coarse, map_) == pytest.approx(scipy.spearmanr(coarse.ravel(), map_.ravel())[0])


def test_a_box_is_found_by_its_label_and_half_of_it():
    wide = {**BOX, "x1": 20.0}  # twice the box: exactly half in common
    assert box_recall([wide], [BOX]) == 1.0
    assert box_recall([{**BOX, "x1": 20.1}], [BOX]) == 0.0
    assert box_recall([{**BOX, "label": "dog"}], [BOX, BOX]) == 0.0
    assert box_recall([], [BOX]) == 0.0
    assert box_recall([BOX], []) is None


def test_maps_differ_by_their_mean():
    assert mean_difference(np.zeros((4, 4)), np.full((4, 4), 0.25)) == 0.25


def test_reduction_takes_means():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[::2] = 100
    assert reduced(pixels).shape == (8, 8, 3)
    assert (reduced(pixels) == 50).all()


def test_maps_are_compared_by_name_and_each_wanted_name_counts_alike():
    wanted = np.full((4, 8), "", "<U3")
    wanted[:, :2], wanted[:, 7] = "cat", "dog"
    assert mean_iou(wanted, wanted) == 1.0
    got = wanted.copy()
    got[:, 2:4] = "cat"  # twice as wide as it should be
    assert mean_iou(got, wanted) == pytest.approx((0.5 + 1.0) / 2)
    got[:, :4] = "cow"
    assert mean_iou(got, wanted) == 0.5
    assert mean_iou(wanted, np.full((4, 8), "")) is None


def _person(points, **more):
    return {"keypoints": np.asarray(points, float).ravel().tolist(), "score": 1.0, **BOX, "label": "person", **more}


def test_poses_are_as_alike_as_coco_says():
    """COCO's own code takes the area from the annotation: here that of the box."""
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    rng = np.random.default_rng(1)
    wanted = np.column_stack([rng.uniform(0, 10, (17, 2)), np.ones(17)])
    wanted[3:6, 2] = 0.1
    found = wanted + np.column_stack([rng.normal(0, 0.7, (17, 2)), np.zeros(17)])
    judge = cocoeval.COCOeval(iouType="keypoints")
    judge._gts[1, 1] = [
        {
            "keypoints": np.where(wanted[:, 2:] >= 0.3, wanted * [1, 1, 0] + [0, 0, 2], 0).ravel(),
            "bbox": [0, 0, 10, 10],
            "area": 100.0,
        }
    ]
    judge._dts[1, 1] = [{"keypoints": found.ravel().tolist(), "score": 1.0}]
    ((expected,),) = judge.computeOks(1, 1)
    assert 0.2 < expected < 0.95
    assert pose_similarity([_person(found)], [_person(wanted)]) == pytest.approx(expected)


def test_a_person_who_is_not_found_scores_nothing_and_one_without_points_is_not_asked_for():
    points = np.column_stack([np.arange(17), np.arange(17), np.ones(17)])
    one, unseen = _person(points), _person(points * [1, 1, 0])
    assert pose_similarity([one], [one]) == 1.0
    assert pose_similarity([one], [one, _person(points + np.array([500, 0, 0]))]) == pytest.approx(0.5)
    assert pose_similarity([], [one]) == 0.0
    assert pose_similarity([one], [unseen]) is None
