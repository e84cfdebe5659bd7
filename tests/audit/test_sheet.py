import numpy as np
import pytest
from PIL import Image

from onegen.audit.sheet import MARGIN, TILE_WIDTH, Tile, contact_sheet

RED = np.zeros((100, 200, 3), np.uint8)
RED[:, :, 0] = 255


def has(sheet: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    return (np.asarray(sheet) == colour).all(axis=2)


def test_a_picture_is_shown_whole_at_tile_width_and_keeps_its_aspect():
    sheet = contact_sheet([[Tile(RED, "image")]], "one")
    rows, columns = np.nonzero(has(sheet, (255, 0, 0)))
    assert np.ptp(columns) + 1 == TILE_WIDTH
    assert np.ptp(rows) + 1 == TILE_WIDTH // 2
    assert columns.min() == MARGIN


def test_columns_stand_side_by_side_and_rows_below_one_another():
    blue = RED[:, :, ::-1]
    sheet = contact_sheet([[Tile(RED, "a"), Tile(blue, "b")], [Tile(blue, "a"), Tile(RED, "b")]], "four")
    red = np.argwhere(has(sheet, (255, 0, 0))).mean(axis=0)
    blue_ = np.argwhere(has(sheet, (0, 0, 255))).mean(axis=0)
    np.testing.assert_allclose(red, blue_, atol=1)  # both lie on a diagonal around one centre


def test_a_tile_without_a_picture_shows_its_reason():
    with_reason = contact_sheet([[Tile(RED, "image"), Tile(None, "hed", ("failed: timeout",))]], "t")
    without = contact_sheet([[Tile(RED, "image"), Tile(None, "hed", ("",))]], "t")
    assert with_reason.size == without.size
    assert np.any(np.asarray(with_reason) != np.asarray(without))


def test_labels_lines_and_title_are_drawn():
    plain = np.asarray(contact_sheet([[Tile(RED, "")]], ""))
    for changed in (([[Tile(RED, "image")]], ""), ([[Tile(RED, "")]], "title")):
        assert np.any(np.asarray(contact_sheet(*changed)) != plain)
    longer = contact_sheet([[Tile(RED, "", ("key", "a caption"))]], "")
    assert np.count_nonzero(np.asarray(longer) < 128) > np.count_nonzero(plain < 128)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 4000, 3), (4000, 1, 3), (30, 40)])
def test_any_shape_of_picture_fits(shape):
    sheet = contact_sheet([[Tile(np.full(shape, 90, np.uint8), "odd")]], "odd")
    assert sheet.width < 600
    assert sheet.height < 500
    assert has(sheet, (90, 90, 90)).any()


def test_unequal_rows_no_rows_and_wild_text_are_fine():
    contact_sheet([], "nothing yet")
    lines = ("x" * 5000, "tab\tvalue", "line\nbreak \x00 and control", "né 漢字")
    sheet = contact_sheet([[Tile(RED, "image", lines)], [], [Tile(RED, "image"), Tile(None, "late", lines)]], "t")
    assert sheet.width == 2 * MARGIN + 2 * TILE_WIDTH + 16


def test_the_same_rows_give_the_same_bytes():
    rows = [[Tile(RED, "image", ("key",)), Tile(None, "scores", ("sharpness\t812",))]]
    assert contact_sheet(rows, "t").tobytes() == contact_sheet(rows, "t").tobytes()


def test_a_label_has_one_column_whatever_its_place_in_the_row():
    """A row whose second picture is missing, and whose order differs, keeps its pictures under their headers."""
    blue, green = np.zeros_like(RED), np.zeros_like(RED)
    blue[:, :, 2] = green[:, :, 1] = 255
    rows = [
        [Tile(RED, "image"), Tile(blue, "hed"), Tile(green, "canny")],
        [Tile(RED, "image"), Tile(green, "canny"), Tile(None, "hed", ("failed: timeout",))],
    ]
    sheet = contact_sheet(rows, "t")
    for colour in ((255, 0, 0), (0, 255, 0)):
        columns = np.nonzero(has(sheet, colour))[1]
        assert np.ptp(columns) + 1 == TILE_WIDTH  # one above the other
    assert len(np.unique(np.nonzero(has(sheet, (0, 0, 255)))[0])) == TILE_WIDTH // 2  # in the first row alone


def test_two_tiles_of_one_label_stand_side_by_side():
    assert contact_sheet([[Tile(RED, "map"), Tile(RED, "map")]], "t").width == 2 * MARGIN + 2 * TILE_WIDTH + 16
