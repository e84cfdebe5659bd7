import numpy as np
import pytest

from onegen.pixels.boxes import BOX_FIELDS, area, box_fields, box_of, iou, letterbox, suppress


@pytest.mark.parametrize(("height", "width"), [(100, 400), (400, 100), (64, 64), (1, 1000), (1000, 1), (1, 1)])
def test_a_letterboxed_point_returns_to_its_pixel(height, width):
    picture = np.zeros((height, width, 3), np.uint8)
    picture[-1, -1] = 255  # the lower right corner
    square, scale = letterbox(picture, 320)
    assert square.shape == (320, 320, 3)
    assert scale == 320 / max(height, width)
    covered = np.argwhere((square != 127).any(axis=2)).max(axis=0) + 1
    np.testing.assert_allclose(covered / scale, (height, width), atol=1 / scale)  # within a pixel of the square


def test_letterbox_keeps_the_aspect_and_fills_the_rest():
    square, _ = letterbox(np.full((50, 200, 3), 10, np.uint8), 100, fill=7)
    assert (square[:25] == 10).all()
    assert (square[25:] == 7).all()


def test_a_record_holds_a_box_in_four_fields():
    record = {"label": "cat", **box_fields((1.0, 2.0, 30.0, 40.0))}
    assert record == {"label": "cat", "x0": 1.0, "y0": 2.0, "x1": 30.0, "y1": 40.0}
    assert box_of(record) == (1.0, 2.0, 30.0, 40.0)
    assert [name for name, _ in BOX_FIELDS] == list(box_fields((0, 0, 0, 0)))
    with pytest.raises(ValueError):
        box_fields((1.0, 2.0, 3.0))


def test_iou_of_known_boxes():
    one = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], float)
    other = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [5, 5, 4, 4]], float)
    np.testing.assert_allclose(iou(one, other), [[1, 1 / 3, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(area(other), [100, 100, 100, 0])


def test_suppression_keeps_the_best_of_each_heap():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [30, 0, 40, 10], [0, 0, 10, 10.5], [0, 3, 10, 13]], float)
    scores = np.array([0.6, 0.9, 0.5, 0.8, 0.7])
    labels = np.array([1, 1, 1, 2, 2])
    # 1 beats 0 (same label); 3 overlaps 1 by 0.78 and is another label; 4 overlaps 3 by 0.57.
    assert suppress(boxes, scores, labels, same=0.5, any_=0.8) == [1, 3, 2]
    assert suppress(boxes, scores, labels, same=0.6, any_=0.8) == [1, 3, 4, 2]
    assert suppress(boxes, scores, labels, same=0.5, any_=0.7) == [1, 4, 2]


def test_suppression_of_equal_scores_keeps_the_first():
    boxes = np.array([[0, 0, 10, 10]] * 3, float)
    assert suppress(boxes, np.full(3, 0.5), np.zeros(3, int), same=0.5, any_=0.8) == [0]


def test_suppression_of_nothing_is_nothing():
    assert suppress(np.empty((0, 4)), np.empty(0), np.empty(0, int), same=0.5, any_=0.8) == []
