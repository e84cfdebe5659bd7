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


def test_the_whole_benchmark_is_three_thousand_pictures(tmp_path):
    """Its own list: 30 subjects in 15 classes, 9 of them alive, and two lists of 25 prompts."""
    alive = ["cat", "cat2", *(f"dog{number}" for number in ("", 2, 3, 5, 6, 7, 8))]
    classes = {name: name[:3] for name in alive} | {f"thing_{n}": f"stuffed toy {n % 13}" for n in range(21)}
    for name in classes:
        (tmp_path / "dataset" / name).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "dataset" / name / f"{number:02d}.jpg").write_bytes(b"a photo")
    lists = [
        ",\n".join(f"'a {{0}} {{1}} {kind} {n}'.format(unique_token, class_token)" for n in range(25))
        for kind in ("in place", "wearing hat")
    ]
    listed = "".join(f"{name},{cls}\n" for name, cls in classes.items())
    text = f"Classes\n\nsubject_name,class\n{listed}\nPrompts\n\nObject Prompts\n\nprompt_list = [\n{lists[0]}\n]\n\n"
    text += f"Live Subject Prompts\n\nprompt_list = [\n{lists[1]}\n]\n"
    (tmp_path / "dataset" / "prompts_and_classes.txt").write_text(text)
    protocol = DreamBench(data=tmp_path)
    assert sum(len(unit.outputs) for unit in protocol.units()) == 3_000
    assert protocol.lacks() == ""
    subjects = read_subjects(tmp_path)
    assert len({subject.cls for subject in subjects.values()}) == 15
    assert {name for name, subject in subjects.items() if "wearing" in subject.prompts[0]} == set(alive)
    assert subjects["thing_3"].prompts[24].format("toy") == "a toy in place 24"
    assert "1 pictures each" in DreamBench(data=tmp_path, images=1).lacks()


def test_generated_pictures_that_are_the_photos_score_their_mean_similarity_with_themselves(data, monkeypatch):
    class Shades:
        """An encoder that tells pictures by their red."""

        def vectors(self, pictures):
            reds = [picture.getpixel((0, 0))[0] > 20 for picture in pictures]
            return np.array([[float(red), float(not red)] for red in reds])

    monkeypatch.setattr(DreamBench, "_encoder", lambda self: Shades())
    protocol = DreamBench(data=data, images=2, prompts=1)
    unit = protocol.units()[0]
    for output, number in zip(unit.outputs, range(2), strict=True):
        path = data / "drawn" / output
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.open(data / "dataset" / "cat2" / f"{number:02d}.jpg").save(path)
    rows = [{"unit": unit.name, **row} for row in protocol.score(unit, data / "drawn")]
    got = {metric.name: metric.value for metric in protocol.summarise(rows)}
    assert got["focus_similarity"] == 0.5  # each with itself 1, with the other 0
    assert got["focus_similarity.oracle"] == 0.0
