"""What `bring` of a source says.

PYTHONPATH=. python -m pytest tests/config/test_bring.py
"""

from typing import Any

import pytest

from onegen.config.bring import BringEntry, bring_entries
from onegen.errors import ConfigError


def test_a_column_is_called_like_its_modality_whatever_people_call_that():
    entries = bring_entries({"depth": "depth.png", "masks": "seg.png", "boxes": ".json.objects", "keypoints": "json.p"})
    assert list(entries.values()) == [
        BringEntry("depth", "depth", ("depth.png",)),
        BringEntry("segmentation", "segmentation", ("seg.png",)),
        BringEntry("detection", "detection", ("json.objects",)),
        BringEntry("pose", "pose", ("json.p",)),
    ]


def test_a_column_may_be_called_otherwise():
    entries = bring_entries(
        {
            "my_depth": {"use": "depth", "from": "depth.png", "near": "dark", "upright": True},
            "caption_human": "txt",
            "boxes_true": "json.all",
            "truth": {"use": "boxes", "from": "json.all"},
            "surfaces": {"use": "mylab.normals", "from": "normals.png"},
        }
    )
    assert entries["my_depth"] == BringEntry("my_depth", "depth", ("depth.png",), True, {"near": "dark"})
    assert {name: entry.use for name, entry in entries.items()} == {
        "my_depth": "depth", "caption_human": "caption", "boxes_true": "detection", "truth": "detection",
        "surfaces": "mylab.normals",
    }  # fmt: skip


def test_pairs_have_a_place_for_each_image():
    described = {"depth": {"from": {"source": "b", "target": "a"}}}
    assert bring_entries(described, ("target", "source"))["depth"].places == ("a", "b")


@pytest.mark.parametrize(
    ("bring", "message"),
    [
        ({"depth": None}, r"bring.depth must say where it comes from, got None. Write depth: depth.png"),
        ({"depth": ["a.png"]}, r"bring.depth must say where it comes from"),
        ({"depth": {"use": "depth"}}, r"bring.depth must say where it comes from"),
        ({"depth": {"from": 3}}, r"bring.depth.from must be text, such as depth.png, got 3"),
        ({"depth": "."}, r"bring.depth.from must be text"),
        ({"depth": {"from": "a", "upright": "yes"}}, r"bring.depth.upright must be true or false, got 'yes'"),
        ({"Depth": "a"}, r"lower-case letters, digits and _, got 'Depth'"),
        ({"dpeth": "a"}, r"bring must say what 'dpeth' is; .*depth.*dpeth: \{use: depth, from: ...\}"),
        ({"hed": {"use": "depth", "from": "a"}}, r"column 'hed' must be of the modality of its name, got use: 'depth'"),
        ({"boxes": "a", "detection": "b"}, r"got 'boxes' and 'detection', which both make 'detection'"),
    ],
)
def test_what_an_entry_gets_wrong_is_named(bring: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        bring_entries(bring)
