"""Which networks let a figure stand beside the paper's: those of the paper by name, or by the hash in their name."""

import pytest

from onegen.eval.dreambench import DreamBench
from onegen.eval.encoders.clip import BASE, LARGE
from onegen.eval.encoders.lpips import Lpips
from onegen.eval.encoders.named import is_called
from onegen.eval.encoders.structure import BASE8
from onegen.eval.geneval import GenEval
from onegen.eval.identity import Identity
from onegen.eval.pie import PieBench


@pytest.mark.parametrize(
    ("model", "is_it"),
    [
        (LARGE, True),
        ("/weights/clip-vit-large-patch14", True),
        ("./clip-vit-large-patch14/", True),
        ("somebody/clip-vit-large-patch14", False),
        ("/weights/clip", False),
        (BASE, False),
        ("", False),
    ],
)
def test_a_network_is_known_by_its_name(model, is_it):
    assert is_called(model, LARGE) is is_it


def exact(protocol, rows):
    return {metric.name: metric.exact for metric in protocol.summarise(rows)}


def test_scores_of_pie_bench_are_its_own_by_its_own_networks():
    names = ("clip_whole", "clip_edited", "structure_distance")
    own = exact(PieBench(clip_model=LARGE, dino_model=BASE8), [])
    other = exact(PieBench(clip_model=BASE, dino_model="/weights/dino"), [])
    assert [own[name] for name in names] == [True] * 3
    assert [other[name] for name in names] == [False] * 3
    assert own["psnr"]
    assert other["psnr"]


def test_lpips_is_known_by_its_hash(tmp_path, monkeypatch):
    path = tmp_path / "trunk.pth"
    path.write_bytes(b"weights")
    monkeypatch.setattr("onegen.eval.encoders.lpips.sha256_file", lambda _: "b8a52dc0" + 56 * "0")
    assert Lpips("squeeze", path).is_torchvisions()
    assert not Lpips("alex", path).is_torchvisions()
    assert not Lpips("squeeze", tmp_path / "absent.pth").is_torchvisions()


def test_scores_of_dreambench_are_its_own_by_its_own_networks():
    for options, wanted in (
        ({"similarity": "dino", "clip_model": BASE}, {"dino": True, "clip_i": True, "clip_t": True}),
        ({"similarity": "dino", "dino_model": "/weights/x", "clip_model": LARGE}, {"dino": False, "clip_i": False}),
        ({"clip_model": BASE}, {"focus_similarity": False, "clip_t": True}),
    ):
        got = exact(DreamBench(**options), [])
        assert {name: got[name] for name in wanted} == wanted


def test_geneval_is_so_by_its_own_networks(tmp_path):
    own = {"detector": "mask2former", "colours": "clip"}
    assert GenEval(**own).is_exact
    assert not GenEval(**own, clip_model=BASE).is_exact
    assert not GenEval(**own, detector_model="/weights/another").is_exact


def test_clip_t_needs_pulids_prompts_and_a_clip_of_openai(tmp_path, portraits):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a portrait\na person in a boat\n")
    row = {"is_id": False, "clip_t": 30.0}
    for options, is_own in (
        ({"prompts": prompts, "clip_model": BASE}, True),
        ({"prompts": prompts, "clip_model": "/weights/x"}, False),
        ({"clip_model": LARGE}, False),
    ):
        assert exact(Identity(data=portraits, **options), [row])["clip_t"] is is_own
