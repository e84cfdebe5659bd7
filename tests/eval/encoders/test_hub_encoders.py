"""The real classes on tiny checkpoints: CLIP, DINO, Mask2Former, LPIPS."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("transformers")

from onegen.errors import ConfigError
from onegen.eval.dreambench import DreamBench
from onegen.eval.encoders.clip import ClipEncoder
from onegen.eval.encoders.dino import Dino
from onegen.eval.encoders.lpips import FILES, Lpips
from onegen.eval.encoders.structure import Structure
from onegen.eval.geneval import GenEval
from onegen.eval.geneval.mask2former import Mask2Former
from onegen.eval.pie import PieBench
from onegen.sample import Annotation, Item
from tests.checkpoints import checkpoint
from tests.eval.checkpoints import dino, lpips_trunk, mask2former

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)
OTHER = Image.fromarray(PIXELS[::-1].copy())


@pytest.fixture(scope="module")
def clip():
    return str(checkpoint("similarity", "clip"))


def test_clip_says_what_the_annotator_says(clip):
    encoder = ClipEncoder(clip)
    images, texts = encoder.images([PICTURE, OTHER]), encoder.texts(["a photo of two people", "red bus"])
    assert images.shape == texts.shape == (2, 24)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1)
    item = Item(key="", pixels=PIXELS, annotations={"caption": Annotation({"caption": "red bus"})})
    (said,) = encoder.annotator.annotate([item])
    assert images[0] @ texts[1] == pytest.approx(said.values["similarity"], abs=1e-5)
    np.testing.assert_allclose(encoder.texts(["red bus"])[0], texts[1], atol=1e-6)
    (weights,) = encoder.identity()
    assert len(weights["sha256"]) == 64


def test_clip_scores_of_an_edit_are_hundredfold_and_not_below_nothing(clip):
    row = PieBench(clip_model=clip)._clip(np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), bool), "red bus")
    assert row["clip_whole"] == pytest.approx(row["clip_edited"], abs=1e-3)
    assert 0.0 <= row["clip_whole"] <= 100.0
    assert "clip_whole" not in PieBench(clip_model=clip).skipped()


def test_dino_says_the_class_token(tmp_path):
    dino(tmp_path)
    encoder = Dino(model=str(tmp_path), device="cpu")
    vectors = encoder.vectors([PICTURE, OTHER])
    assert vectors.shape == (2, 32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    assert vectors[0] @ vectors[1] < 1
    np.testing.assert_allclose(encoder.vectors([PICTURE])[0], vectors[0], atol=1e-5)
    assert DreamBench(similarity="dino", dino_model=str(tmp_path)).metric_models() == encoder.identity()


def test_structure_is_of_the_last_keys_and_their_cosines(tmp_path):
    dino(tmp_path)
    encoder = Structure(model=str(tmp_path), device="cpu")
    assert encoder.distance(PIXELS, PIXELS) == 0.0
    upside_down = PIXELS[::-1].copy()
    assert encoder.distance(PIXELS, upside_down) == encoder.distance(upside_down, PIXELS) > 0.0
    import torch

    # the same by hand: pixels are not divided by 255, as the benchmark's scorer does not
    network = encoder.network()
    tables = []
    for pixels in (PIXELS, upside_down):
        image = torch.tensor(pixels).float().permute(2, 0, 1)[None]
        image = torch.nn.functional.interpolate(image, (32, 32), mode="bilinear")
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        layer = network.layers[-1]
        with torch.inference_mode():
            before = network((image - mean) / std, output_hidden_states=True).hidden_states[-2]
            keys = layer.attention.k_proj(layer.layernorm_before(before))[0]
        unit = torch.nn.functional.normalize(keys, dim=1)
        assert len(unit) == 1 + (32 // 16) ** 2  # the class token among them
        tables.append(unit @ unit.T)
    by_hand = float(((tables[0] - tables[1]) ** 2).mean())
    assert encoder.distance(PIXELS, upside_down) == pytest.approx(by_hand, rel=1e-4)


def test_an_edit_has_its_structure_distance_where_dino_is_there(tmp_path):
    dino(tmp_path)
    protocol = PieBench(dino_model=str(tmp_path))
    assert "structure_distance" not in protocol.skipped()
    assert protocol.metric_models() == Structure(model=str(tmp_path)).identity()
    metrics = {m.name: m for m in protocol.summarise([{"structure": 0.07, "psnr": None}])}
    got = metrics["structure_distance"]
    assert (got.value, got.scale, got.exact) == (0.07, 1000.0, False)  # another network than the benchmark's
    assert "-O dino_model=facebook/dino-vitb8" in PieBench().skipped()["structure_distance"]


def test_mask2former_gives_boxes_of_masks_under_the_benchmarks_names(tmp_path):
    mask2former(tmp_path)
    things = Mask2Former(model=str(tmp_path), device="cpu").things(PIXELS)
    assert things
    assert [t.score for t in things] == sorted((t.score for t in things), reverse=True)
    assert {t.label for t in things} <= {"person", "bicycle", "computer mouse", "potted plant", "tv"}
    for thing in things:
        assert thing.mask.shape == PIXELS.shape[:2]
        x0, y0, x1, y1 = (int(value) for value in thing.box)
        assert thing.mask[y0:y1, x0:x1].sum() == thing.mask.sum()
        assert thing.mask[y0].any()
        assert thing.mask[:, x1 - 1].any()
        assert 0 < thing.score <= 1


@pytest.mark.slow
def test_geneval_runs_on_its_own_detector_and_clip(tmp_path, clip):
    mask2former(tmp_path / "detector")
    options = {"detector": "mask2former", "detector_model": str(tmp_path / "detector"), "colours": "clip"}
    protocol = GenEval(images=1, prompts=1, clip_model=clip, **options)
    units = {unit.name: unit for unit in protocol.units()}
    protocol.load()
    for unit in units.values():
        path = tmp_path / unit.outputs[0]
        path.parent.mkdir(parents=True)
        PICTURE.save(path)
        (row,) = protocol.score(unit, tmp_path)
        assert row["correct"] in (True, False)
    assert protocol.metric_models()[0]["name"] == "detector"


@pytest.mark.parametrize("trunk", [pytest.param("alex", marks=pytest.mark.slow), "squeeze"])
def test_lpips_takes_torchvisions_trunk(trunk, tmp_path):
    pytest.importorskip("lpips")
    path = tmp_path / FILES[trunk]
    encoder = Lpips(trunk, path)
    assert encoder.lacks().startswith(f"needs {FILES[trunk]}")
    lpips_trunk(trunk, path)
    assert encoder.lacks() == ""
    picture = PIXELS / 255
    assert encoder.distance(picture, picture) == 0.0
    assert encoder.distance(picture, picture[::-1].copy()) > 0.0
    assert encoder.identity()[0]["name"] == f"lpips-{trunk}"
    assert not encoder.is_torchvisions()  # chance made its weights


def test_another_networks_weights_are_no_trunk(tmp_path):
    pytest.importorskip("lpips")
    path = tmp_path / "other.pth"
    lpips_trunk("squeeze", path)
    with pytest.raises(ConfigError, match=r"trunk of LPIPS must be torchvision's alexnet"):
        Lpips("alex", path).distance(PIXELS / 255, PIXELS / 255)
