import numpy as np
import pytest
from PIL import Image

from onegen.errors import ConfigError
from onegen.eval.dreambench import DreamBench, mean_pairs, oracle_of, read_subjects
from onegen.eval.synthetic import _PROMPTS

ONE_HOT = np.eye(4)


def test_a_pair_with_itself_is_a_pair():
    assert mean_pairs(ONE_HOT, ONE_HOT) == 0.25
    assert mean_pairs(ONE_HOT[:1], ONE_HOT[:1]) == 1.0


def test_the_oracle_leaves_out_pairs_with_themselves():
    assert oracle_of(ONE_HOT) == 0.0
    assert oracle_of(np.ones((3, 1))) == 1.0


@pytest.fixture
def data(tmp_path):
    for name in ("cat2", "vase"):
        folder = tmp_path / "dataset" / name
        folder.mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (32, 32), (40 * number, 90, 20)).save(folder / f"{number:02d}.jpg")
    text = _PROMPTS.format(classes="cat2,cat\nvase,vase")
    (tmp_path / "dataset" / "prompts_and_classes.txt").write_text(text)
    return tmp_path


def test_prompts_keep_the_class_and_lose_the_token(data):
    subjects = read_subjects(data)
    assert subjects["cat2"].prompts == ("a {} on a sofa", "a wet {}")
    assert subjects["vase"].prompts == ("a {} on a wooden table", "a blue {}")
    protocol = DreamBench(data=data, images=2)
    units = protocol.units()
    assert [unit.name for unit in units] == ["cat2/00", "cat2/01", "vase/00", "vase/01"]
    assert units[0].outputs == ("cat2/00-0.png", "cat2/00-1.png")
    assert protocol._of(units[0])[1] == "a cat on a sofa"


def test_subjects_weigh_alike(monkeypatch):
    monkeypatch.setattr("onegen.eval.dreambench._real", lambda protocol, subject: ONE_HOT)
    rows = [{"unit": "a/00", "similarity": 1.0}] * 3 + [{"unit": "b/00", "similarity": 0.0}]
    got = {metric.name: metric.value for metric in DreamBench().summarise(rows)}
    assert got["focus_similarity"] == 0.5
    assert got["focus_similarity.oracle"] == 0.0
    assert got["clip_i"] is None


def test_a_list_that_names_absent_photos_is_refused(data):
    for path in (data / "dataset" / "vase").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match="subject 'vase'"):
        DreamBench(data=data).units()
    with pytest.raises(ConfigError, match="prompts_and_classes.txt"):
        DreamBench(data=data / "dataset").units()
