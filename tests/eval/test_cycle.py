"""The cycle metrics on a small dataset: a sample's own image keeps its condition, and no other's."""

import pytest
from PIL import Image

from onegen.errors import ConfigError
from onegen.eval.cycle import Cycle, measure
from tests.packaged import photo
from tests.tiny import make_recipe, run, write_photos


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cycle")
    write_photos(folder / "photos", 4)
    run(make_recipe(folder / "photos", []), folder / "out")
    return folder / "out"


def test_tasks_are_those_the_dataset_has_columns_for(dataset):
    tasks = {unit.name.partition("/")[0] for unit in Cycle(data=dataset).units()}
    assert tasks == {"canny2image", "image_inpainting", "super_resolution", "deblurring"}
    with pytest.raises(ConfigError, match="columns behind hed2img"):
        Cycle(data=dataset, tasks=("hed2img",)).units()


def test_the_image_itself_keeps_its_condition_better_than_anothers(dataset, tmp_path):
    protocol = Cycle(data=dataset)
    rows = []
    for unit in protocol.units():
        task, sample = protocol._of(unit)
        path = tmp_path / unit.outputs[0]
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(sample.pixels()).save(path)
        (row,) = protocol.score(unit, tmp_path)
        assert row["value"] == measure(task, sample.pixels(), sample)
        rows.append({"unit": unit.name, **row})
    got = {metric.name: metric.value for metric in protocol.summarise(rows)}
    assert got["canny_f1"] == 1.0
    assert got["psnr_outside_holes"] == got["psnr_blurred_again"] == 100.0
    for name in ("canny_f1", "psnr_outside_holes", "psnr_reduced", "psnr_blurred_again"):
        assert got[name] > got[f"{name}.shuffled"]
    assert not any(metric.exact for metric in protocol.summarise(rows))


def test_two_samples_are_needed(tmp_path):
    write_photos(tmp_path / "photos", 1)
    run(make_recipe(tmp_path / "photos", []), tmp_path / "out")
    with pytest.raises(ConfigError, match="2 samples or more"):
        Cycle(data=tmp_path / "out").units()


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Two photos of people and things, one of a thing alone, with masks and poses."""
    folder = tmp_path_factory.mktemp("people")
    (folder / "photos").mkdir()
    for name in ("obama.jpg", "astronaut.png", "chelsea.png"):
        Image.fromarray(photo(name)).resize((320, 320)).save(folder / "photos" / f"{name[:-4]}.png")
    stages = [
        {"name": "things", "annotators": {"detection": {}}},
        {"name": "named", "annotators": {"entities": {}, "pose": {}}},
        {"name": "masks", "annotators": {"segmentation": {}}},
    ]
    run(make_recipe(folder / "photos", stages), folder / "out")
    return folder / "out"


@pytest.mark.parametrize(
    ("task", "shown", "name"), [("semanticmap2image", 3, "semantic_iou"), ("pose2image", 2, "pose_oks")]
)
def test_what_is_read_off_a_photo_is_what_its_dataset_says(people, tmp_path, task, shown, name):
    """Only samples that show something are asked for: a cat has no pose."""
    protocol = Cycle(data=people, tasks=(task,))
    units = protocol.units()
    assert len(units) == shown
    rows = []
    for unit in units:
        _, sample = protocol._of(unit)
        (tmp_path / task).mkdir(exist_ok=True)
        Image.fromarray(sample.pixels()).save(tmp_path / unit.outputs[0])
        rows += [{"unit": unit.name, **row} for row in protocol.score(unit, tmp_path)]
    got = {metric.name: metric.value for metric in protocol.summarise(rows)}
    assert got[name] == pytest.approx(1.0, abs=0.02)
    assert got[f"{name}.shuffled"] < 0.7


def test_a_task_needs_two_samples_that_show_something(people):
    asked = Cycle(data=people, tasks=("pose2image",), samples=2)
    with pytest.raises(ConfigError, match="must show something for pose2image, got 1 of the first 2"):
        asked.units()


def test_the_prompt_says_each_colour_once_and_only_of_what_the_map_shows(people):
    (unit, *_) = Cycle(data=people, tasks=("semanticmap2image",)).units()
    protocol = Cycle(data=people, tasks=("semanticmap2image",))
    _, sample = protocol._of(unit)
    asked = []

    class Listening:
        def images(self, key, task, prompt, views, *rest, **more):
            asked.append(prompt)
            return [Image.fromarray(sample.pixels())]

    list(protocol.draw(unit, Listening()))
    (prompt,) = asked
    assert [entity.label for entity in prompt.entities] == sorted(
        {name for name in sample.names().ravel() if name}, key=[e["label"] for e in sample.entities()].index
    )
