"""Every modality of a bare machine, built from a real photo, stands on the contact sheet as `conditions` draws it.

PYTHONPATH=. python -m pytest tests/end_to_end/test_modalities.py
"""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from onegen.audit import show
from onegen.audit.sheet import Tile, contact_sheet
from tests.contracts.test_annotators import NAMES
from tests.packaged import bring_models, photo
from tests.tiny import dataset, encoded, make_recipe, run

STAGES = [
    ["scores", "nsfw", "detection", "classes", "faces", "features", "hed", "depth"],
    ["entities", "names", "pose", "caption"],
    ["segmentation"],
    ["agreement"],
]
DRAWN = ["image", "depth", "hed", "canny", "boxes", "masks", "pose", "faces"]


def test_every_column_is_on_the_sheet(tmp_path, monkeypatch):
    bring_models()
    assert sorted(name for names in STAGES for name in names) == NAMES, "a new annotator belongs on the sheet too"
    photos = tmp_path / "photos"
    photos.mkdir()
    bus = cv2.resize(photo("bus.jpg"), (576, 768), interpolation=cv2.INTER_AREA)
    (photos / "bus.png").write_bytes(encoded(bus))
    (photos / "bus.txt").write_text("People walk past a bus")
    stages = [
        {"name": f"stage{number}", "annotators": {name: {} for name in names}} for number, names in enumerate(STAGES)
    ]
    summary = run(make_recipe(photos, stages, image={"min_side": 32}), tmp_path / "out", workers=0)
    assert {counts.ok for counts in summary.counts.values()} == {1}
    (manifest,) = dataset(tmp_path / "out").manifests("caption")
    assert manifest.producer.label().startswith("composed-caption@"), "nobody may take it for a captioner's"

    seen: list[Sequence[Sequence[Tile]]] = []

    def watched(rows: Sequence[Sequence[Tile]], title: str) -> Image.Image:
        seen.append(rows)
        return contact_sheet(rows, title)

    monkeypatch.setattr(show, "contact_sheet", watched)
    sheet = show.show(dataset(tmp_path / "out"))
    assert sheet.width > len(DRAWN) * 200
    ((tiles,),) = seen
    pictures = {tile.label: tile.picture for tile in tiles if tile.picture is not None}
    assert list(pictures) == DRAWN
    for label, drawn in pictures.items():
        assert drawn.shape == bus.shape, label
        assert np.ptp(drawn) > 200, label
    (caption,) = (tile.lines for tile in tiles if tile.label == "caption")
    assert caption[0] == "People walk past a bus"
    assert caption[1].startswith("made: People walk past a bus. The picture shows")
    (values,) = (tile.lines for tile in tiles if tile.label == "values")
    named = {line.partition("\t")[0] for line in values}
    expected = {
        "classes.top_class",
        "nsfw",
        "scores.sharpness",
        "pose.num_people",
        "detection.num_people",
        "depth.minimum",
        "agreement.masks_on_image",
    }
    assert expected <= named
    assert "features\t384 numbers" in values
