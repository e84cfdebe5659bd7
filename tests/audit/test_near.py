"""Clusters in the report are those of the hashes. PYTHONPATH=. python -m pytest tests/audit/test_near.py"""

import json
from pathlib import Path

import numpy as np

from onegen.audit.near import near_duplicates
from onegen.audit.report import audit
from onegen.audit.tables import open_tables
from tests.tiny import dataset, encoded, make_recipe, picture, rows, run


def test_clusters_are_what_lies_near_the_first_of_them_and_are_shown(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(9):
        pixels = picture(number)
        for copy in range(3 if number == 2 else 2 if number in (4, 7) else 1):
            # A little brighter: other bytes, the same picture.
            brighter = np.clip(pixels.astype(np.int16) + 3 * copy, 0, 255).astype(np.uint8)
            (tmp_path / "photos" / f"{number}-{copy}.png").write_bytes(encoded(brighter))
    run(make_recipe(tmp_path / "photos", []), tmp_path / "out", workers=0)
    named = {row.values["item"]: str(row.key) for row in rows(tmp_path / "out", "image")}
    expected = {frozenset(key for item, key in named.items() if item.startswith(f"{number}-")) for number in (2, 4, 7)}
    opened = dataset(tmp_path / "out")
    with open_tables(opened) as tables:
        near = near_duplicates(tables, opened.require_card())
    assert near is not None
    assert (near.compared, near.images, near.clusters) == (13, 7, 3)
    assert {frozenset(key for key, _ in images) for _, images in near.largest} == expected
    assert [size for size, _ in near.largest] == [3, 2, 2]
    _, _, written = audit(opened)
    text = written["index.html"].decode()
    assert text.count('near-duplicates" loading=') == 7
    assert json.loads(written["statistics.json"])["near_duplicates"]["clusters"] == 3


def test_without_any_there_is_none(audited: Path) -> None:
    opened = dataset(audited)
    with open_tables(opened) as tables:
        near = near_duplicates(tables, opened.require_card())
    assert near is not None
    assert (near.images, near.clusters, near.largest) == (0, 0, [])
