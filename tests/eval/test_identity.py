import numpy as np
import pytest
from PIL import Image

from onegen.errors import ConfigError
from onegen.eval.encoders.faces import FaceEncoder
from onegen.eval.identity import OWN_PROMPTS, Identity, clip_t, likeness
from onegen.tasks.prompt import Prompt
from tests.packaged import photo


class Echo:
    """An encoder whose picture says what the text says."""

    def images(self, pictures):
        return np.array([[0.6, 0.8]])

    def texts(self, texts):
        return np.array([[0.6, 0.8]])


def test_the_reference_itself_is_the_person():
    vector = np.array([3.0, 4.0])
    row = likeness(vector, vector)
    assert row == {"has_face": True, "cosine": 1.0, "distance": 0.0}


def test_without_a_face_nobody_is_there():
    assert likeness(np.ones(2), None) == {"has_face": False, "cosine": 0.0, "distance": 1.0}


def test_a_picture_that_says_its_text_scores_a_hundred():
    assert clip_t(Echo(), Image.new("RGB", (8, 8)), "a text") == pytest.approx(100.0)


def test_every_person_has_four_of_one_and_four_of_twenty(portraits):
    units = Identity(data=portraits).units()
    assert [unit.name for unit in units] == ["ada", "bob"]
    assert len(units[0].outputs) == 4 + 20 * 4
    assert units[0].outputs[:5] == ("ada/id-0.png", "ada/id-1.png", "ada/id-2.png", "ada/id-3.png", "ada/01-0.png")
    assert len(OWN_PROMPTS) == 21
    assert str(Prompt(("faceid",), (OWN_PROMPTS[0], ""))).startswith("[[faceid]] [[img0]] a colour photograph")


def test_prompts_may_be_brought(portraits, tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("a portrait\n\na person in a boat\n")
    (unit, _) = Identity(data=portraits, prompts=path, images=1).units()
    assert unit.outputs == ("ada/id-0.png", "ada/01-0.png")
    path.write_text("\n")
    with pytest.raises(ConfigError, match="a prompt a line"):
        Identity(data=portraits, prompts=path, images=2).units()


def test_faces_that_are_not_found_are_counted(portraits):
    rows = [
        {"is_id": True, "clip_t": None, **likeness(np.ones(2), vector)} for vector in (np.ones(2), None, None, None)
    ]
    got = {metric.name: metric.value for metric in Identity(data=portraits).summarise(rows)}
    assert got["faces_found"] == 0.25
    assert got["dlib_distance"] == 0.75
    assert got["dlib_same_person"] == 0.25
    arcface = Identity(data=portraits, faces="arcface").summarise(rows)
    assert (arcface[0].name, arcface[0].exact) == ("face_cosine", False)
    assert arcface[0].value == pytest.approx(0.25)


def test_a_portrait_without_a_face_is_named(portraits, monkeypatch):
    pytest.importorskip("dlib")
    protocol = Identity(data=portraits)
    with pytest.raises(ConfigError, match="none is found in those of 'ada'"):
        protocol._reference("ada")


def test_data_without_portraits_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="without any"):
        Identity(data=tmp_path).units()


def test_faces_of_the_arcface_kind_are_scored_by_cosine(tmp_path):
    """Its real classes on a tiny network that finds a face anywhere: a picture is the person it shows."""
    pytest.importorskip("torch")
    from tests.checkpoints import checkpoint, options

    (tmp_path / "people").mkdir()
    face = np.ascontiguousarray(photo("obama.jpg")[:256, :256])
    Image.fromarray(face).save(tmp_path / "people" / "obama.png")
    folder = str(checkpoint("faces", "arcface"))
    named = {"faces_model": folder, "is_curricularface": True, "clip_prompts": False, "images": 1}
    protocol = Identity(data=tmp_path / "people", faces="arcface", **named)
    encoder = FaceEncoder("arcface", (("model", folder), *options("faces", "arcface").items()))
    protocol_class = type(protocol)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol_class, "_encoder", lambda self: encoder)
        protocol.load()
        (unit,) = protocol.units()
        (tmp_path / "drawn" / "obama").mkdir(parents=True)
        Image.fromarray(face).save(tmp_path / "drawn" / unit.outputs[0])
        (row,) = protocol.score(unit, tmp_path / "drawn")
        assert row["cosine"] == pytest.approx(1.0)
        assert protocol.metric_models()[0]["sha256"]


def test_fewer_pictures_a_prompt_are_not_the_protocol(portraits):
    assert Identity(data=portraits, images=1).lacks().startswith("2 persons, 1 pictures a prompt")
