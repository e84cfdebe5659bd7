"""Faces grouped by whom they show.

PYTHONPATH=. python -m pytest tests/build/test_group.py
"""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from onegen.annotators.faces import PROVIDES, face
from onegen.build.group import cluster, group
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError
from onegen.shards.dataset import Dataset
from tests.fabricated import TINY_CARD, Line, build_here, memory_store, write_column
from tests.pictures import png

PEOPLE = 40
PHOTOS = 6


def identities(people: int, photos: int, spread: float = 0.04) -> tuple[np.ndarray, np.ndarray]:
    """Return identities of people in a mixed order, and of whom each is."""
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(people, 128))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    whose = rng.permutation(np.repeat(np.arange(people), photos))
    return (centres[whose] + rng.normal(scale=spread / 2, size=(len(whose), 128))).astype(np.float32), whose


def test_a_labelled_set_is_grouped_with_no_mixing():
    vectors, whose = identities(PEOPLE, PHOTOS)
    found = cluster(vectors, 0.6)
    assert len(found) == PEOPLE
    assert all(len({int(whose[index]) for index in members}) == 1 for members in found)
    assert [members[0] for members in found] == sorted(members[0] for members in found)


def test_a_chain_of_faces_is_not_one_person():
    chain = np.zeros((9, 128), np.float32)
    chain[:, 0] = np.arange(9) * 0.4
    for members in cluster(chain, 0.6):
        assert np.ptp(chain[members, 0]) < 0.6


def test_the_table_holds_subjects_in_order_and_builds(tmp_path):
    vectors, whose = identities(3, 5)
    out = tmp_path / "people.parquet"
    with memory_store("faces") as store:
        fill(store, vectors)
        grouping = group(Dataset(store), out, min_images=4)
    assert grouping.sizes == [5, 5, 5]
    assert grouping.left_out == {"not selected, or without an answer": 1, "several faces": 1, "no face": 1}
    table = pq.read_table(out).to_pylist()
    assert [row["subject"] for row in table] == sorted(row["subject"] for row in table)
    for row in table:
        number = int(row["source"].removesuffix(".png"))
        assert row["image"]["bytes"] == png(number)
        assert row["caption"] == f"photo {number}"
    of_subject: dict[str, set[int]] = {}
    for row in table:
        of_subject.setdefault(row["subject"], set()).add(int(whose[int(row["source"].removesuffix(".png"))]))
    assert all(len(people) == 1 for people in of_subject.values())
    with memory_store("identities") as store:
        recipe = {
            "name": "people",
            "kind": "identity",
            "collected": "Drawn.",
            "image": {"licence": "CC0-1.0"},
            "source": {"identities": str(out), "caption": "caption"},
        }
        Recipe.model_validate(recipe)
        summary = build_here(recipe, store)
        assert summary.counts["select"].ok == 3


def fill(store, vectors) -> None:
    """Write a dataset of photos: one face each but for three at the end."""
    lines, faces = [], []
    for number in range(len(vectors) + 3):
        data = png(number)
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
        values = {"uri": f"{number}.png", "caption": f"photo {number}", "width": width, "height": height}
        lines.append(Line(f"{number:020d}", values=values, parts={"png": data}))
        shown = [vectors[number]] if number < len(vectors) else [vectors[0]] * (number - len(vectors))
        found = [face(1.0, (0, 0, 90, 90), [0.0] * 10, who, (100, 100)) for who in shown]
        faces.append(Line(f"{number:020d}", values={"faces": found, "num_faces": len(found)}))
    # The first of those behind has no face, the second's column failed, the third has two.
    faces[-2] = Line(f"{len(lines) - 2:020d}", status="failed", reason="crash")
    store.write("dataset.json", TINY_CARD.to_json())
    write_column(store, "image", 0, lines)
    write_column(store, "faces", 0, faces, PROVIDES.fields)


@pytest.mark.parametrize(
    ("column", "message"),
    [("depth", "must have the column 'depth'.*Add the annotator faces"), ("image", "must hold faces, got item, uri")],
)
def test_what_cannot_be_grouped_is_refused(tmp_path, column, message):
    with memory_store("faces") as store:
        fill(store, identities(2, 2)[0])
        with pytest.raises(ConfigError, match=message):
            group(Dataset(store), tmp_path / "out.parquet", column)


def test_a_dataset_in_which_nobody_comes_back_is_refused(tmp_path):
    with memory_store("faces") as store:
        fill(store, identities(2, 2)[0])
        with pytest.raises(ConfigError, match="must show someone in 4 pictures"):
            group(Dataset(store), tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
