import cv2
import numpy as np
import pytest

from onegen.sample import Annotation
from onegen.tasks.conditions import canny, colour_masks, filled_boxes, frames, grey_map, pictures, skeleton
from onegen.tasks.degradations import blur, holes, low_resolution
from tests.packaged import photo


def test_canny_is_white_on_black_at_the_step():
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, 30:] = 200
    drawn = canny(picture, 100, 200)
    assert drawn.shape == picture.shape
    assert drawn.dtype == np.uint8
    assert set(np.unique(drawn)) == {0, 255}
    columns = np.flatnonzero(drawn[20, :, 0])
    assert len(columns) == 1
    assert abs(columns[0] - 30) <= 1


def test_canny_thresholds_choose_how_much_is_an_edge():
    loose, strict = (np.count_nonzero(canny(photo("chelsea.png"), *limits)) for limits in ((20, 60), (150, 300)))
    assert loose > 4 * strict > 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 3)])
def test_canny_takes_any_size(shape):
    picture = np.full((*shape, 3), 9, np.uint8)
    np.testing.assert_array_equal(canny(picture, 100, 200), np.zeros_like(picture))


def test_canny_leaves_the_picture_alone():
    picture = photo("chelsea.png").copy()
    canny(picture, 100, 200)
    np.testing.assert_array_equal(picture, photo("chelsea.png"))


def person(points: dict[int, tuple[float, float]], visibility: float = 0.9, score: float = 0.9) -> dict:
    keypoints = np.zeros((17, 3))
    for index, place in points.items():
        keypoints[index] = (*place, visibility)
    return {"score": score, "keypoints": keypoints.ravel().tolist()}


def entity(label: str, colour: str, box: tuple[float, float, float, float], score: float = 0.5) -> dict:
    return {"label": label, "colour": colour, "score": score, **dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))}


ORANGE, LIME, BLUE = (255, 153, 51), (0, 255, 0), (0, 128, 255)


def test_limbs_have_the_colours_of_their_side():
    left_arm = {5: (200, 100), 7: (220, 200), 9: (240, 300)}
    right_leg = {12: (100, 300), 14: (90, 400), 16: (80, 500)}
    head = {0: (150, 50), 1: (160, 40)}
    drawn = skeleton([person(left_arm | right_leg | head)], (512, 512))
    assert tuple(drawn[150, 210]) == LIME  # half way from left shoulder to left elbow
    assert tuple(drawn[350, 95]) == BLUE
    assert tuple(drawn[45, 155]) == ORANGE
    assert {tuple(colour) for colour in drawn.reshape(-1, 3)} == {(0, 0, 0), ORANGE, LIME, BLUE}
    assert np.count_nonzero(drawn.any(axis=2)) < 0.01 * 512 * 512  # thin


# COCO's points: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles, the left one before the right one.
LINKED = {
    **dict.fromkeys([(5, 7), (7, 9), (11, 13), (13, 15)], LIME),  # left arm and leg
    **dict.fromkeys([(6, 8), (8, 10), (12, 14), (14, 16)], BLUE),
    **dict.fromkeys([(5, 6), (5, 11), (6, 12), (11, 12)], ORANGE),
    **dict.fromkeys([(0, 1), (0, 2), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6)], ORANGE),  # ears are tied to shoulders
}


def test_points_are_linked_as_in_vitposes_drawings_and_not_otherwise():
    for one in range(17):
        for other in range(one + 1, 17):
            drawn = skeleton([person({one: (100, 50), other: (100, 150)})], (256, 256))
            assert tuple(drawn[100, 100]) == LINKED.get((one, other), (0, 0, 0)), (one, other)
        colour = ORANGE if one < 5 else LIME if one % 2 else BLUE
        assert tuple(skeleton([person({one: (100, 50)})], (256, 256))[50, 100]) == colour, one


def test_people_who_may_be_none_are_left_out():
    nobody = person({5: (50, 50), 7: (50, 90)}, score=0.19)
    assert not skeleton([nobody], (100, 100)).any()
    assert skeleton([nobody], (100, 100), min_score=0.1).any()


def test_hidden_points_are_left_out():
    hidden = person({5: (50, 50), 7: (50, 90)}, visibility=0.2)
    assert not skeleton([hidden], (100, 100)).any()
    assert skeleton([hidden], (100, 100), min_visibility=0.1).any()


def test_points_outside_of_the_image_are_no_harm():
    far = person({5: (-1e9, 50), 7: (1e9, 60), 9: (50, -300)})
    assert skeleton([far], (100, 100)).shape == (100, 100, 3)
    assert not skeleton([], (7, 9)).any()


def test_boxes_are_filled_and_small_ones_lie_on_top():
    one, other = entity("cat", "red", (50, 60, 250, 260), 0.37), entity("cup", "navy", (100, 100, 150, 150))
    for order in ([one, other], [other, one]):
        drawn = filled_boxes(order, (300, 300))
        assert tuple(drawn[200, 200]) == (255, 0, 0)
        assert tuple(drawn[140, 140]) == (0, 0, 128)
        assert not drawn[280:, :].any()
        above = drawn[45:58, 50:120]  # "cat: 0.37" in white on black
        assert above.max() > 200
        assert (above[:, :, 0] == above[:, :, 1]).all()


def test_name_and_score_stand_just_above_the_box():
    drawn = filled_boxes([entity("dining table", "red", (50, 100, 400, 300), 0.374)], (512, 512))
    white = drawn.min(axis=2)  # red has none
    expected = np.zeros_like(white)
    cv2.putText(expected, "dining table: 0.37", (50, 97), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1, cv2.LINE_AA)
    np.testing.assert_array_equal(white, expected)
    rows, columns = np.nonzero(expected)
    assert 80 < rows.min() < rows.max() <= 103  # small, and just there
    assert columns.max() < 250


def test_a_label_on_another_box_has_a_dark_rim():
    under, over = entity("bus", "yellow", (0, 20, 300, 300)), entity("cat", "yellow", (100, 150, 200, 250))
    ground = filled_boxes([under, over], (300, 300))[135:150, 95:170]
    assert (ground.max(axis=2) < 60).sum() > 100
    assert (ground.min(axis=2) > 200).sum() > 20


def test_the_label_of_a_box_without_room_above_stands_inside_and_within_the_picture():
    drawn = filled_boxes([entity("person", "blue", (280, 0, 300, 300))], (300, 300))
    white = np.argwhere((drawn > 120).all(axis=2))
    assert len(white) > 20
    assert white[:, 0].max() < 20
    assert white[:, 1].max() < 299
    assert white[:, 1].min() < 280  # it reaches out of its narrow box to the left


def test_masks_become_flat_colours_on_black():
    indices = np.array([[0, 1], [2, 1]], np.uint8)
    drawn = colour_masks(indices, [entity("cat", "gold", (0, 0, 1, 1)), entity("dog", "teal", (0, 0, 1, 1))])
    np.testing.assert_array_equal(drawn, [[(0, 0, 0), (255, 215, 0)], [(0, 128, 128), (255, 215, 0)]])


def test_maps_become_grey_over_their_full_range():
    deep = np.array([[0, 257, 65535]], np.uint16)
    np.testing.assert_array_equal(grey_map(deep)[0, :, 0], [0, 1, 255])
    np.testing.assert_array_equal(grey_map(np.array([[7, 255]], np.uint8))[0], [[7] * 3, [255] * 3])


DEGRADATIONS = (blur, holes, low_resolution)


@pytest.mark.parametrize("degrade", DEGRADATIONS)
def test_a_seed_is_one_degradation(degrade):
    picture = photo("chelsea.png")
    first = degrade(picture, 1)
    assert first.shape == picture.shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, degrade(picture, 1))
    assert len({degrade(picture, seed).tobytes() for seed in range(8)}) == 8
    assert not picture.flags.writeable  # so it was left alone


@pytest.mark.parametrize("degrade", DEGRADATIONS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (4, 3)])
def test_any_size_can_be_degraded(degrade, shape):
    for seed in range(6):
        assert degrade(np.full((*shape, 3), 77, np.uint8), seed).shape == (*shape, 3)


def test_blur_keeps_the_brightness_and_loses_the_edges():
    picture = photo("chelsea.png")
    for seed in range(6):
        blurred = blur(picture, seed)
        assert abs(blurred.mean() - picture.mean()) < 2
        assert (
            np.abs(np.diff(blurred.astype(int), axis=1)).mean()
            < 0.8 * np.abs(np.diff(picture.astype(int), axis=1)).mean()
        )


def test_both_kinds_of_blur_occur():
    """A Gaussian spreads a point evenly; motion draws a line."""
    point = np.zeros((201, 201, 3), np.uint8)
    point[98:103, 98:103] = 255
    ratios = []
    for seed in range(20):
        rows, columns = np.nonzero(blur(point, seed)[:, :, 0] > 8)
        spread = np.linalg.eigvalsh(np.cov(rows, columns))
        ratios.append(spread[1] / spread[0])
    assert min(ratios) < 1.1
    assert max(ratios) > 3


def test_holes_are_black_and_the_rest_is_untouched():
    picture = np.full((300, 400, 3), 200, np.uint8)
    shares = []
    for seed in range(40):
        holed = holes(picture, seed)
        assert np.isin(holed, (0, 200)).all()
        assert (holed[:, :, :1] == holed).all()
        shares.append(np.mean(holed[:, :, 0] == 0))
    assert 0.005 < min(shares) < 0.1
    assert 0.3 < max(shares) < 0.8


def test_holes_are_rectangles_and_polygons():
    """Four rectangles leave at most nine different rows, a polygon leaves as many as it is high."""
    picture = np.full((300, 400, 3), 200, np.uint8)
    rows = [len(np.unique(holes(picture, seed)[:, :, 0], axis=0)) for seed in range(40)]
    assert sum(number <= 9 for number in rows) >= 5
    assert sum(number > 20 for number in rows) >= 5


def test_found_objects_and_faces_are_framed_on_the_darkened_picture():
    picture = np.full((120, 160, 3), 240, np.uint8)
    face = {"score": 1.0, "x0": 20.0, "y0": 30.0, "x1": 60.0, "y1": 90.0, "landmarks": [40.0, 50.0, 45.0, 70.0]}
    drawn = frames(picture, [face])
    assert tuple(drawn[5, 5]) == tuple(drawn[60, 30]) == (80, 80, 80)
    assert tuple(drawn[60, 20]) == tuple(drawn[90, 40]) == (255, 255, 255)
    assert tuple(drawn[50, 40]) == tuple(drawn[70, 45]) == LIME
    named = {"label": "cat", "score": 0.5, "x0": 20.0, "y0": 30.0, "x1": 60.0, "y1": 90.0}
    assert (frames(picture, [named])[15:29, 20:90] > 120).sum() > 60  # "cat: 0.50"
    assert (picture == 240).all()
    assert (frames(picture, []) == 80).all()


def test_low_resolution_has_few_details_left():
    picture = photo("chelsea.png")
    for seed in range(4):
        coarse = low_resolution(picture, seed)
        assert abs(coarse.mean() - picture.mean()) < 2
        assert len(np.unique(coarse[:, :, 0])) > 50  # smooth, not blocks
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    for seed in range(20):  # the mean of f x f values has 1 / f^2 of their variance
        assert 1 / 200 < low_resolution(noise, seed).var() / noise.var() < 1 / 3


def test_everything_known_of_a_sample_is_drawn():
    picture = photo("chelsea.png")
    shape = picture.shape[:2]
    cat = entity("cat", "gold", (10, 20, 200, 200))
    columns = {
        "entities": Annotation({"entities": [cat]}),
        "segmentation": Annotation({}, {"masks.png": np.ones(shape, np.uint8)}),
        "pose": Annotation({"people": [person({5: (50, 50), 7: (50, 90)})]}),
        "hed": Annotation({}, {"hed.png": np.full(shape, 9, np.uint8)}),
        "depth": Annotation({}, {"depth.png": np.full(shape, 65535, np.uint16)}),
        "detection": Annotation({"objects": [cat]}),
        "faces": Annotation({"faces": None}),
    }
    drawn = pictures(picture, columns)
    assert list(drawn) == ["depth", "hed", "canny", "boxes", "masks", "pose", "faces"]
    assert all(one.shape == picture.shape and one.dtype == np.uint8 for one in drawn.values())
    assert (drawn["masks"] == (255, 215, 0)).all()
    assert drawn["depth"].min() == 255
    assert (drawn["hed"] == 9).all()
    assert drawn["pose"].any()
    assert list(pictures(picture, {})) == ["canny"]
    del columns["entities"]  # no colours, no boxes and masks
    assert list(pictures(picture, columns)) == ["depth", "hed", "canny", "detection", "pose", "faces"]
