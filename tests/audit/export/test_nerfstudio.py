"""Scenes that are handed on come back through the source `captures` as they were.

PYTHONPATH=. python -m pytest tests/audit/export/test_nerfstudio.py
"""

import json

import numpy as np
import pytest

from onegen.audit.export import FORMATS, Wishes, export
from onegen.errors import ConfigError
from onegen.geometry.nerfstudio import read_nerfstudio
from tests.end_to_end import test_scenes as scenes
from tests.handed import samples
from tests.tiny import rows, run


def test_a_scene_comes_back_through_captures_as_it_was(tmp_path):
    scenes.write(tmp_path / "scenes")
    run(scenes.recipe(tmp_path / "scenes"), tmp_path / "out", workers=0)
    handed = export(samples(tmp_path / "out"), tmp_path / "made", FORMATS["nerfstudio"], Wishes(0.5))
    stored = {str(row.key): row for row in rows(tmp_path / "out", "image") if row.status == "ok"}
    assert (handed.samples, handed.images) == (len(stored), sum(len(row.parts) for row in stored.values()))
    folders = {path.parent.name: path for path in (tmp_path / "made").glob("*/*/transforms.json")}
    assert folders.keys() == stored.keys()
    for key, path in folders.items():
        assert list(read_nerfstudio(path)) == [f"images/{part.name}" for part in stored[key].parts]
        assert {"w", "h", "camera_model"} <= json.loads(path.read_text()).keys()
    run(scenes.recipe(tmp_path / "made"), tmp_path / "again", workers=0)
    back = {row.values["caption"]: row for row in rows(tmp_path / "again", "image") if row.status == "ok"}
    assert len(back) == len(stored) > 1
    for row in stored.values():
        other = back[row.values["caption"]]
        for name in ("licence", "attribution", "caption", "width", "height", "phash"):
            assert other.values[name] == row.values[name], name
        assert [part.sha256 for part in other.parts] == [part.sha256 for part in row.parts]
        cameras = zip(
            [row.values["camera"], *(view["camera"] for view in row.values["others"])],
            [other.values["camera"], *(view["camera"] for view in other.values["others"])],
            strict=True,
        )
        for mine, again in cameras:
            np.testing.assert_allclose(again["camera_to_world"], mine["camera_to_world"], atol=1e-6)
            np.testing.assert_allclose(again["focal"], mine["focal"], atol=1e-6)


def test_other_kinds_are_refused_and_nothing_is_left(handed, tmp_path):
    with pytest.raises(ConfigError, match="must hold scenes for this format, got samples of kind image"):
        export(samples(handed), tmp_path / "made", FORMATS["nerfstudio"], Wishes())
    assert not (tmp_path / "made").exists()
