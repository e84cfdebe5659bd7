"""Annotations that belong together, and those of another picture.

PYTHONPATH=. python -m pytest tests/annotators/test_agreement.py
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.agreement import BAR, EXCHANGED, annotated, exchange, lay
from onegen.annotators.agreement import COMPARED, SCORES, Agreement
from onegen.build.assemble import column_job
from onegen.errors import ConfigError
from onegen.pixels.boxes import box_fields
from onegen.sample import Annotation, Item, Provides
from tests.packaged import bring_models

HEIGHT, WIDTH = 96, 128


def scene(left: int = 20, top: int = 10, right: int = 70, bottom: int = 80) -> Item:
    """A bright person of rectangular shape before a dark wall, and what perfect annotators would say of them."""
    rng = np.random.default_rng(left)
    pixels = rng.integers(20, 30, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    pixels[top:bottom, left:right] += 150
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[top:bottom, left:right] = True
    edges = np.zeros((HEIGHT, WIDTH), np.uint8)
    edges[top - 1 : bottom + 1, left - 1 : right + 1] = 255
    edges[top + 1 : bottom - 1, left + 1 : right - 1] = 0
    box = box_fields((float(left), float(top), float(right), float(bottom)))
    points = [v for n in range(17) for v in (left + 2.0 * n + 1, top + 3.0 * n + 1, 1.0)]
    said = {
        "depth": Annotation({}, {"depth.png": (inside * np.uint16(40_000) + np.uint16(9_000)).astype(np.uint16)}),
        "hed": Annotation({}, {"hed.png": edges}),
        "segmentation": Annotation({}, {"masks.png": inside.astype(np.uint8)}),
        "entities": Annotation({"entities": [{"label": "person", "colour": "red", "score": 0.9, **box}]}),
        "pose": Annotation({"people": [{"score": 0.9, "keypoints": points, **box}]}),
    }
    return Item("0" * 20, pixels, annotations=said)


def scores(item: Item, **options: Any) -> dict[str, float | None]:
    (answer,) = Agreement(**options).annotate([item])
    assert isinstance(answer, Annotation)
    return dict(answer.values)


def without(item: Item, column: str, annotation: Annotation | None = None) -> Item:
    """Return a picture with one annotation taken away, or replaced."""
    said = {name: value for name, value in item.annotations.items() if name != column}
    return replace(item, annotations=said if annotation is None else {**said, column: annotation})


def test_what_belongs_together_agrees():
    found = scores(scene())
    assert found["masks_on_image"] > 0.97
    assert found["depth_on_masks"] > 0.97
    assert found["edges_on_image"] > 0.65  # the picture has fewer edges than the tenth of it that is taken for such
    assert found["boxes_on_masks"] == 1.0
    assert found["points_on_masks"] == 1.0


@pytest.mark.parametrize("name", SCORES)
def test_a_score_falls_when_an_annotation_it_looks_at_is_another_picture_s(name):
    own, other = scene(), scene(60, 30, 120, 90)
    before = scores(own)[name]
    for column in COMPARED:
        after = scores(without(own, column, other.annotations[column]))[name]
        if column in EXCHANGED[name]:
            assert after < before - 0.2, column
        elif column != "entities":
            assert after == before, column


@pytest.mark.parametrize(
    ("column", "empty", "silent"),
    [
        ("segmentation", Annotation({}, {"masks.png": np.zeros((HEIGHT, WIDTH), np.uint8)}),
         {"masks_on_image", "depth_on_masks"}),
        ("entities", Annotation({"entities": []}), {"boxes_on_masks"}),
        ("pose", Annotation({"people": []}), {"points_on_masks"}),
    ],
)  # fmt: skip
def test_where_there_is_nothing_to_compare_nothing_is_said(column, empty, silent):
    found = scores(without(scene(), column, empty))
    assert {name for name, value in found.items() if value is None} == silent


def test_an_entity_without_a_mask_has_no_overlap_and_a_person_none_to_lie_in():
    item = without(scene(), "segmentation", Annotation({}, {"masks.png": np.zeros((HEIGHT, WIDTH), np.uint8)}))
    assert scores(item)["boxes_on_masks"] == 0.0
    assert scores(item)["points_on_masks"] == 0.0
    nobody = without(scene(), "entities", Annotation({"entities": [{"label": "dog", **box_fields((20, 10, 70, 80))}]}))
    assert scores(nobody)["points_on_masks"] == 0.0


def test_people_with_too_few_points_in_the_picture_say_nothing():
    item = scene()
    (person,) = item.annotations["pose"].values["people"]
    outside = [v for n in range(17) for v in (-5.0, 500.0, 1.0)]
    hidden = [v for n in range(17) for v in (30.0, 30.0, 0.2)]
    for points in (outside, hidden):
        found = without(item, "pose", Annotation({"people": [{**person, "keypoints": points}]}))
        assert scores(found)["points_on_masks"] is None


def test_a_flat_map_says_no_more_than_chance():
    flat = Annotation({}, {"depth.png": np.full((HEIGHT, WIDTH), 7, np.uint16)})
    assert scores(without(scene(), "depth", flat))["depth_on_masks"] == pytest.approx(0.5)


def test_only_the_columns_it_is_asked_for_are_needed():
    chosen = Agreement(of=("depth", "segmentation"))
    assert chosen.requires == ("depth", "segmentation")
    item = replace(scene(), annotations={name: scene().annotations[name] for name in chosen.requires})
    (answer,) = chosen.annotate([item])
    assert isinstance(answer, Annotation)
    assert {name for name, value in answer.values.items() if value is not None} == {"masks_on_image", "depth_on_masks"}
    job = column_job("agreement", chosen, "image", provides=dict.fromkeys(COMPARED, Provides()))
    assert (job.gates, list(job.provides)) == (("depth", "segmentation"), ["depth", "segmentation"])


@pytest.mark.parametrize("of", [(), ("depth", "dept")])
def test_columns_that_cannot_be_compared_are_refused(of):
    with pytest.raises(ConfigError, match="of must name columns among depth, hed"):
        Agreement(of=of)


def test_an_annotation_that_is_laid_on_another_picture_fills_it():
    item = scene()
    laid = lay(item.annotations["segmentation"], (HEIGHT, WIDTH), (2 * HEIGHT, WIDTH))
    assert laid.parts["masks.png"].shape == (2 * HEIGHT, WIDTH)
    (person,) = lay(item.annotations["pose"], (HEIGHT, WIDTH), (2 * HEIGHT, WIDTH)).values["people"]
    assert (person["x0"], person["y1"], person["keypoints"][:3]) == (20.0, 160.0, [21.0, 22.0, 1.0])


@pytest.fixture(scope="module")
def photos() -> list[Item]:
    bring_models()
    return annotated()


@pytest.mark.slow
@pytest.mark.parametrize("name", SCORES)
def test_a_score_falls_in_95_of_100_exchanges_between_photos(photos, name):
    own, exchanged, falls = exchange(photos, name)
    assert len(falls) > 250
    assert np.mean(falls) >= BAR
    assert np.median(own) > np.median(exchanged) + 0.2
