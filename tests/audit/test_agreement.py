"""Each measure of agreement says 1 for the same, less for worse, and what its paper defines on cases known by hand.

PYTHONPATH=. python -m pytest tests/audit/test_agreement.py
"""

import cv2
import numpy as np
import pytest

from onegen.audit import agreement
from onegen.audit.agreement import measure_of
from onegen.audit.compare import compare_columns, compare_datasets, worst_sheet
from onegen.errors import ConfigError
from tests.handed import samples
from tests.tiny import dataset


class Said:
    """A picture of two columns, `a` and `b`, that says what a test wants."""

    key = "00"

    def __init__(self, a, b, part=None):
        self._said = {"a": a, "b": b}
        self._part = part

    def values(self, column):
        return self._said[column] if self._part is None else {}

    def parts(self, column):
        return [self._part] if self._part else []

    def part(self, column, name):
        ok, data = cv2.imencode(".png", self._said[column])
        assert ok
        return data.tobytes()


def of_maps(measure, part, a, b):
    return measure(Said(a, b, part), "a", "b")


def of_records(measure, field, a, b):
    return measure(Said({field: a}, {field: b}), "a", "b")


def box(x0, y0, x1, y1, label="cat"):
    return {"label": label, "score": 0.9, "x0": x0, "y0": y0, "x1": x1, "y1": y1}


def person(dx=0.0, seen=17):
    points = [[10.0 * k + dx, 5.0 * k, 0.9 if k < seen else 0.0] for k in range(17)]
    return {"keypoints": [v for point in points for v in point], **box(0, 0, 160, 80)}


def test_depth_is_blind_to_scale_and_shift_and_nothing_else():
    rng = np.random.default_rng(0)
    map_ = rng.integers(0, 60_000, (20, 30)).astype(np.uint16)
    assert of_maps(agreement.depth, "depth.png", map_, map_) == pytest.approx(1.0)
    assert of_maps(agreement.depth, "depth.png", map_, map_ // 2 + 900) == pytest.approx(1.0, abs=1e-6)
    assert of_maps(agreement.depth, "depth.png", map_, 65_535 - map_) == 0.0
    assert of_maps(agreement.depth, "depth.png", map_, np.roll(map_, 7, 1)) < 0.2
    flat = np.zeros_like(map_)
    assert of_maps(agreement.depth, "depth.png", flat, flat) == 1.0
    assert of_maps(agreement.depth, "depth.png", flat, map_) == 0.0


def test_normals_at_right_angles_are_half_way():
    up, right = np.zeros((2, 4, 4, 3), np.uint8) + 128
    up[..., 1], right[..., 0] = 255, 255
    assert of_maps(agreement.normals, "normals.png", up, up) == pytest.approx(1.0, abs=1e-3)
    assert of_maps(agreement.normals, "normals.png", up, right) == pytest.approx(0.5, abs=0.01)


def test_masks_have_panoptic_quality_whatever_their_numbers():
    one = np.zeros((10, 10), np.uint8)
    one[:, :4], one[:, 6:] = 1, 2
    renamed = np.choose(one, [0, 2, 1]).astype(np.uint8)
    assert of_maps(agreement.masks, "masks.png", one, renamed) == 1.0
    half = np.where(one == 2, 0, one).astype(np.uint8)
    # One pair of IoU 1, and one mask without a twin: 1 / (1 + 1/2).
    assert of_maps(agreement.masks, "masks.png", one, half) == pytest.approx(2 / 3)
    wider = one.copy()
    wider[:, 4] = 1
    assert of_maps(agreement.masks, "masks.png", one, wider) == pytest.approx((0.8 + 1.0) / 2)
    assert of_maps(agreement.masks, "masks.png", one * 0, one * 0) == 1.0
    assert of_maps(agreement.masks, "masks.png", one, one * 0) == 0.0


def test_boxes_match_by_name_and_overlap():
    cat, dog = box(0, 0, 10, 10), box(0, 0, 10, 10, "dog")
    assert of_records(agreement.boxes, "objects", [cat, dog], [dog, cat]) == 1.0
    assert of_records(agreement.boxes, "objects", [cat], [dog]) == 0.0
    assert of_records(agreement.boxes, "objects", [cat], [box(0, 0, 10, 8)]) == pytest.approx(0.8)
    assert of_records(agreement.boxes, "objects", [cat], []) == 0.0
    assert of_records(agreement.boxes, "objects", [], []) == 1.0
    assert of_records(agreement.boxes, "objects", [cat], None) is None
    # One box cannot be two.
    assert of_records(agreement.boxes, "objects", [cat, cat], [cat]) == pytest.approx(2 / 3)


def test_people_are_as_similar_as_coco_says():
    assert of_records(agreement.people, "people", [person()], [person()]) == pytest.approx(1.0)
    near, far = (of_records(agreement.people, "people", [person()], [person(dx)]) for dx in (3.0, 40.0))
    assert 1.0 > near > far > 0.0
    sigma = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
    assert near == pytest.approx(np.exp(-9 / (2 * (2 * sigma) ** 2 * 160 * 80)).mean())
    assert of_records(agreement.people, "people", [person(), person(500)], [person(500)]) == pytest.approx(0.5)
    assert of_records(agreement.people, "people", [], []) == 1.0
    assert of_records(agreement.people, "people", [person()], []) == 0.0


def test_captions_and_features():
    say = lambda a, b: of_records(agreement.captions, "caption", a, b)  # noqa: E731
    assert say("A cat, sits.", "a cat sits") == 1.0
    assert say("a cat sits", "a dog runs") == pytest.approx(1 / 3)
    assert say("a cat", None) is None
    assert of_records(agreement.vectors, "features", [1.0, 0.0], [1.0, 1.0]) == pytest.approx(2**-0.5)
    assert of_records(agreement.vectors, "features", [1.0], [1.0, 1.0]) is None


def test_the_measure_follows_what_both_store():
    assert measure_of("a", "b", [{"depth.png"}] * 2, [set(), set()]).name == "correlation"
    assert measure_of("a", "b", [set(), set()], [{"objects"}, {"entities"}]).name == "quality"
    with pytest.raises(ConfigError, match="two columns of one modality"):
        measure_of("a", "b", [{"depth.png"}, {"hed.png"}], [set(), set()])


def test_columns_of_a_dataset_and_their_worst_on_a_sheet(handed):
    found = samples(handed)
    result = compare_columns(found, "detection", "entities")
    assert (len(result.scores), result.unanswered) == (12, {})
    # What is named is what was detected.
    assert dict(result.quantiles())["mean"] == 1.0
    result = compare_columns(found, "depth", "depth", worst=5)
    assert [key for _, _, key, _ in result.worst] == [sample.key for sample in found][:5]
    sheet = worst_sheet(found, result, "depth", "depth")
    assert sheet.size[0] > 4 * 232
    assert sheet.size[1] > 5 * 110
    for column in ("pose", "masks", "caption_human"):
        result = compare_columns(found, column, column)
        assert dict(result.quantiles())["least"] == pytest.approx(1.0)
        worst_sheet(found, result, column, column)
    with pytest.raises(ConfigError, match="did you mean 'depth'"):
        compare_columns(found, "dept", "depth")
    with pytest.raises(ConfigError, match="one modality"):
        compare_columns(found, "depth", "masks")


def test_a_dataset_is_the_same_as_itself(handed):
    for entry in compare_datasets(dataset(handed), dataset(handed)):
        assert (entry.gone, entry.added, entry.changed) == (0, 0, {})
        assert entry.same == 12
