"""Maps, boxes and points of an original, laid on the image stored of it.

PYTHONPATH=. python -m pytest tests/pixels/test_placement.py
"""

import io

import numpy as np
import pytest
from PIL import Image

from onegen.pixels.placement import as_upright, lay_boxes, lay_map, lay_points, placement_of
from onegen.pixels.upright import decode, open_header
from onegen.sample import Placement

SIZE = (6, 10)
ORIENTATIONS = range(1, 9)


def stored_as(format_: str, pixels: np.ndarray, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, format_, exif=exif, **({"quality": 100} if format_ == "JPEG" else {}))
    return sink.getvalue()


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_map_is_turned_as_ingest_turns_the_photo(format_, orientation):
    grey = np.arange(60, dtype=np.uint8).reshape(SIZE) * 4
    data = stored_as(format_, np.repeat(grey[:, :, None], 3, axis=2), orientation)
    upright = np.asarray(decode(open_header(data), data).image)
    placement = placement_of(data, upright.shape[:2])
    assert placement.original == SIZE
    assert as_upright(placement).original == upright.shape[:2]
    assert np.abs(lay_map(placement, grey, "nearest").astype(int) - upright[:, :, 1]).max() <= 3


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_points_and_boxes_go_where_their_pixels_go(orientation):
    pixels = np.zeros(SIZE, np.uint8)
    pixels[1:3, 4:9] = 1
    size = (20, 12) if orientation >= 5 else (12, 20)
    placement = Placement(SIZE, size, orientation)
    laid = lay_map(placement, pixels, "nearest")
    (box,) = lay_boxes(placement, np.array([[4, 1, 9, 3]]))
    x0, y0, x1, y1 = box.astype(int)
    assert laid.sum() == (x1 - x0) * (y1 - y0) == 40
    assert laid[y0:y1, x0:x1].all()
    (point,) = lay_points(placement, np.array([[4.5, 1.5]]))
    corner = np.zeros(SIZE, np.uint8)
    corner[1, 4] = 1
    assert lay_map(placement, corner, "nearest")[int(point[1]), int(point[0])] == 1


def test_a_smaller_map_has_values_that_were_there_or_their_mean():
    placement = Placement((4, 4), (2, 2))
    pixels = np.array([[1, 9, 2, 2], [1, 9, 2, 2], [5, 5, 7, 7], [5, 5, 7, 7]], np.uint8)
    assert set(np.unique(lay_map(placement, pixels, "nearest"))) <= {1, 2, 5, 7, 9}
    assert lay_map(placement, pixels, "area").tolist() == [[5, 2], [5, 7]]


def test_nothing_changes_where_the_original_is_stored():
    placement = Placement(SIZE, SIZE)
    pixels = np.arange(60, dtype=np.uint16).reshape(SIZE)
    assert np.array_equal(lay_map(placement, pixels, "area"), pixels)
    assert lay_points(placement, np.array([[1.25, 3.5]])).tolist() == [[1.25, 3.5]]
    assert lay_boxes(placement, np.empty((0, 4))).shape == (0, 4)
