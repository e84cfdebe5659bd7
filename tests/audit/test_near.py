"""Clusters in the report are those of the hashes. PYTHONPATH=. python -m pytest tests/audit/test_near.py"""

import json
from pathlib import Path

import numpy as np
import pytest

from onegen.audit.near import near_duplicates
from onegen.audit.report import audit
from onegen.audit.tables import open_tables
from tests.end_to_end import test_identities as identities
from tests.tiny import dataset, encoded, make_recipe, picture, rows, run


def test_clusters_are_what_lies_near_the_first_of_them_and_are_shown(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(9):
        pixels = picture(number)
        for copy in range(3 if number == 2 else 2 if number in (4, 7) else 1):
            (tmp_path / "photos" / f"{number}-{copy}.png").write_bytes(brighter(pixels, 3 * copy))
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


def brighter(pixels: np.ndarray, by: int = 3) -> bytes:
    """Return the file of a picture that is a little brighter: other bytes, the same picture."""
    return encoded(np.clip(pixels.astype(np.int16) + by, 0, 255).astype(np.uint8))


def test_sets_that_share_a_picture_are_a_cluster_and_one_set_alone_is_none(tmp_path: Path) -> None:
    identities.write(tmp_path / "people", {"ada": 5, "bob": 5, "cyd": 5})
    (tmp_path / "people/ada/9.png").write_bytes(brighter(identities.photo("ada", 0)))
    (tmp_path / "people/bob/9.png").write_bytes(brighter(identities.photo("cyd", 3)))
    run(identities.recipe(tmp_path / "people"), tmp_path / "out", workers=0)
    told = rows(tmp_path / "out", "image")
    images = {
        (str(row.key), number): "/".join(Path(view["uri"]).parts[-2:])
        for row in told
        for number, view in enumerate([row.values, *row.values["others"]])
    }
    stats, _, written = audit(dataset(tmp_path / "out"))
    near = json.loads(written["statistics.json"])["near_duplicates"]
    assert (near["compared"], near["images"], near["clusters"]) == (17, 2, 1)
    ((size, members),) = near["largest"]
    assert size == len(members) == 2
    assert {images[key, number] for key, number in members} == {"bob/9.png", "cyd/3.png"}
    # How many images each subject has: 6, 6 and 5.
    subjects = stats.distributions["images per identity"]
    assert (subjects.count, subjects.minimum, subjects.maximum) == (3, 5, 6)
    assert subjects.mean == pytest.approx(17 / 3)


def test_without_any_there_is_none(audited: Path) -> None:
    opened = dataset(audited)
    with open_tables(opened) as tables:
        near = near_duplicates(tables, opened.require_card())
    assert near is not None
    assert (near.images, near.clusters, near.largest) == (0, 0, [])
