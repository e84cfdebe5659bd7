import json

import numpy as np
import pytest
from PIL import Image

from onegen.errors import ConfigError, SampleError
from onegen.eval.pie import PieBench, background, edit_mask, last_square
from onegen.pixels.closeness import PSNR_CAP

SOURCE = np.random.default_rng(0).integers(0, 200, (512, 512, 3), dtype=np.uint8)
CORNER = [part for row in range(256) for part in (row * 512, 256)]
"""The upper left quarter."""


def test_a_mask_is_of_runs_and_its_border_is_always_edited():
    mask = edit_mask([513, 2, 512 * 512 - 2, 100])
    assert mask[1, 1]
    assert mask[1, 2]
    assert mask.sum() == 4 * 511 + 2
    assert mask[0].all()
    assert mask[:, 0].all()
    assert mask[-1].all()
    assert mask[:, -1].all()


def test_the_photo_itself_is_perfect():
    row = background(SOURCE / 255, SOURCE / 255, edit_mask(CORNER))
    assert (row["psnr"], row["mse"]) == (PSNR_CAP, 0.0)
    assert row["ssim"] == pytest.approx(1.0)


def test_what_changes_inside_the_mask_alone_leaves_the_background_perfect():
    mask = edit_mask(CORNER)
    edited = np.where(mask[..., None], 255 - SOURCE, SOURCE)
    assert background(edited / 255, SOURCE / 255, mask)["psnr"] == PSNR_CAP


def test_ten_levels_outside_a_quarter():
    mask = edit_mask(CORNER)
    row = background((SOURCE + np.uint8(10)) / 255, SOURCE / 255, mask)
    # three quarters, less the border: 512 + 511 pixels of it lie outside of the corner
    share = (0.75 * 512 * 512 - (2 * 511 - 1) - 2 * 255 - 2) / 512**2
    assert share == (~mask).mean()
    assert row["mse"] == pytest.approx(share * (10 / 255) ** 2)
    assert row["psnr"] == pytest.approx(29.38, abs=0.05)
    assert round(row["psnr"], 4) == 29.4142  # computed once
    assert round(row["psnr"], 4) == round(-10 * np.log10(share * (10 / 255) ** 2), 4)


def test_without_a_background_there_is_nothing_to_say():
    assert background(SOURCE / 255, SOURCE / 255, np.ones((512, 512), bool)) == {}


def test_of_pictures_side_by_side_the_last_is_the_edit():
    beside = np.concatenate([np.zeros_like(SOURCE)] * 3 + [SOURCE], axis=1)
    assert (last_square(beside) == SOURCE).all()
    with pytest.raises(SampleError, match="must be 512x512, or the last of a row of such, got 64x64"):
        last_square(SOURCE[:64, :64])
    with pytest.raises(SampleError, match="got 1024x1024"):  # one large picture is no row of pictures
        last_square(np.zeros((1024, 1024, 3), np.uint8))


@pytest.fixture
def data(tmp_path):
    photo = tmp_path / "annotation_images" / "0_random_140" / "a.png"
    photo.parent.mkdir(parents=True)
    Image.fromarray(SOURCE).save(photo)
    entry = {
        "image_path": "0_random_140/a.png",
        "original_prompt": "a [cat]",
        "editing_prompt": "a [dog]",
        "editing_instruction": "make it a dog",
        "editing_type_id": "0",
        "mask": " ".join(map(str, CORNER)),
    }
    (tmp_path / "mapping_file.json").write_text(json.dumps({"000": entry}))
    return tmp_path


def test_the_mapping_is_read_masks_as_text_too(data):
    protocol = PieBench(data=data)
    (unit,) = protocol.units()
    assert unit.outputs == ("0_random_140/a.png",)
    (row,) = protocol.score(unit, data / "annotation_images")
    assert row["psnr"] == PSNR_CAP
    assert protocol.lacks() == "1 photos, and PIE-Bench has 700"
    assert set(protocol.skipped()) == {"lpips", "clip_whole", "clip_edited", "structure_distance"}


def test_a_mapping_that_names_absent_photos_is_refused(data):
    (data / "annotation_images" / "0_random_140" / "a.png").unlink()
    with pytest.raises(ConfigError, match="1 of 1 are not there: 0_random_140/a.png"):
        PieBench(data=data).units()
    with pytest.raises(ConfigError, match="PIE-Bench's mapping_file.json"):
        PieBench(data=data / "annotation_images").units()


def test_brackets_are_no_part_of_what_clip_is_asked(data, monkeypatch):
    asked = []
    monkeypatch.setattr(PieBench, "_clip", lambda self, picture, mask, text: asked.append(text) or {})
    protocol = PieBench(data=data, clip_model="/weights/clip")
    protocol.score(protocol.units()[0], data / "annotation_images")
    assert asked == ["a dog"]


def test_edits_without_a_background_are_left_out_of_its_means():
    rows = [{"psnr": 20.0, "clip_whole": 25.0}, {"clip_whole": 27.0}, {"psnr": 30.0, "clip_whole": 26.0}]
    got = {metric.name: (metric.value, metric.count) for metric in PieBench().summarise(rows)}
    assert got["psnr"] == (25.0, 2)
    assert got["clip_whole"] == (26.0, 3)
    assert got["lpips"] == (None, 0)


def test_the_whole_benchmark_is_of_its_seven_hundred(tmp_path):
    (tmp_path / "annotation_images").mkdir()
    (tmp_path / "annotation_images" / "a.png").write_bytes(b"a photo")
    entry = {"image_path": "a.png", "original_prompt": "", "editing_prompt": "", "editing_instruction": "", "mask": []}
    (tmp_path / "mapping_file.json").write_text(json.dumps({str(number): entry for number in range(700)}))
    assert PieBench(data=tmp_path).lacks() == ""
