"""The cycle metrics on a small dataset: a sample's own image keeps its condition, and no other's."""

import pytest
from PIL import Image

from onegen.errors import ConfigError
from onegen.eval.cycle import Cycle, measure
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
