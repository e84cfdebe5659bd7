"""What backends of the hub make of a network's answer: hand-made tensors with known results.

Detectors have test_detection_*.py, captions and names their own.
"""

import math

import numpy as np
import pytest
import torch

from onegen.annotators.aesthetic.laion import head_of
from onegen.annotators.depth.depth_anything import DepthAnything
from onegen.annotators.depth.depth_pro import DepthPro
from onegen.annotators.depth.marigold import MarigoldDepth
from onegen.annotators.faces.arcface import ArcFace, similarity_to
from onegen.annotators.hed.controlnet import ControlNetHed
from onegen.annotators.normals import annotation_of as normals_of
from onegen.annotators.normals.marigold import MarigoldNormals
from onegen.annotators.nsfw.classifier import NsfwClassifier
from onegen.annotators.pose.openpose import OpenPose
from onegen.annotators.pose.vitpose import VitPose
from onegen.annotators.segmentation.sam import Sam
from onegen.annotators.segmentation.sam3 import Sam3
from onegen.annotators.shared.prompted import best_of, masked
from onegen.annotators.similarity.clip import Clip
from onegen.annotators.similarity.siglip import Siglip
from onegen.errors import ConfigError
from onegen.pixels.boxes import box_fields
from onegen.pixels.codec import decode_part, encode_part
from onegen.sample import Annotation, Item, Rejected
from tests.checkpoints import checkpoint, options
from tests.packaged import photo

pytestmark = pytest.mark.torch
HEIGHT, WIDTH = 80, 120


def item(**annotations):
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    return Item("5" * 20, pixels, annotations={name: Annotation(values) for name, values in annotations.items()})


def things(*boxes, label="person"):
    return [{"label": label, "score": 0.9 - index / 10, **box_fields(box)} for index, box in enumerate(boxes)]


def make(cls, name, backend, **changes):
    annotator = cls(model=str(checkpoint(name, backend)), **options(name, backend), **changes)
    annotator.load()
    return annotator


def test_depth_anything_is_inverse_depth_already():
    ramp = np.linspace(0, 5, 12)[np.newaxis].repeat(8, axis=0).astype(np.float32)
    answer = make(DepthAnything, "depth", "depth-anything").finish(item(), ramp)
    stored = answer.parts["depth.png"]
    assert stored.shape == (HEIGHT, WIDTH)
    assert stored[:, 0].max() < stored[:, -1].min(), "large is near and bright"


def test_marigold_is_turned_over():
    far = np.linspace(0, 1, 12)[np.newaxis, :, np.newaxis].repeat(8, axis=0).astype(np.float32)
    stored = make(MarigoldDepth, "depth", "marigold").finish(item(), far)
    assert stored.parts["depth.png"][:, 0].min() > stored.parts["depth.png"][:, -1].max()
    assert (stored.values["minimum"], stored.values["maximum"]) == (0.0, 1.0)


def test_marigold_draws_from_the_key_alone():
    annotator = make(MarigoldDepth, "depth", "marigold", steps=1)
    one, other = item(), Item("6" * 20, item().pixels)
    (first,), (again, another) = annotator.annotate([one]), annotator.annotate([one, other])
    np.testing.assert_array_equal(first.parts["depth.png"], again.parts["depth.png"])
    assert not np.array_equal(first.parts["depth.png"], another.parts["depth.png"])


def test_depth_pro_is_metric_and_keeps_the_focal_length():
    """A width of 120 pixels under 90 degrees has a focal length of 60; one width of it is half of what was meant."""
    canonical = np.full((8, 12), 0.25, np.float32)
    canonical[0, 0] = 0.5
    answer = make(DepthPro, "depth", "depth-pro").finish(item(), (canonical, 90.0))
    assert answer.values["focal"] == 60.0
    assert answer.values["minimum"] == pytest.approx(0.5, abs=0.03), "cubic and linear overshoot a little"
    assert answer.values["maximum"] == pytest.approx(1.0)


def test_normals_are_unit_vectors_in_the_open_encoding():
    vectors = np.array([[[0, 0, 2.0], [1, 0, 0], [0, -3, 0], [0, 0, 0]]])
    stored = normals_of(vectors).parts["normals.png"]
    assert stored.tolist() == [[[128, 128, 255], [255, 128, 128], [128, 0, 128], [128, 128, 255]]]
    np.testing.assert_array_equal(decode_part(encode_part(stored, "rgb8"), "rgb8"), stored)
    facing = np.zeros((8, 12, 3), np.float32)
    facing[..., 2] = 1
    drawn = make(MarigoldNormals, "normals", "marigold").finish(item(), facing).parts["normals.png"]
    assert (drawn == [128, 128, 255]).all()


def test_an_ensemble_of_two_has_no_middle():
    with pytest.raises(ConfigError, match="ensemble of depth must be 1, or 3"):
        MarigoldDepth(model=str(checkpoint("depth", "marigold")), ensemble=2)


def test_hed_is_what_controlnet_s_own_detector_says():
    """At a size that needs no rounding; it cuts grey values off where we round them."""
    from controlnet_aux import HEDdetector

    pixels = np.ascontiguousarray(photo("bus.jpg")[:512:4, :512:4])
    own = HEDdetector.from_pretrained(str(checkpoint("hed", "controlnet")))
    theirs = own(pixels, detect_resolution=128, image_resolution=128, output_type="np")[:, :, 0]
    ours = make(ControlNetHed, "hed", "controlnet").annotate([Item("k", pixels)])[0].parts["hed.png"]
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


def test_the_mask_that_the_network_believes_in_is_taken():
    masks = np.arange(2 * 3 * 4).reshape(2, 3, 2, 2)
    np.testing.assert_array_equal(
        best_of(masks, np.array([[0, 9, 1], [5, 4, 4]])), np.stack([masks[0, 1], masks[1, 0]])
    )


def test_logits_become_masks_of_the_image_s_size():
    logits = np.full((2, 4, 6), -5.0, np.float32)
    logits[0, :, :3] = 5.0
    logits[1, :2, :2] = 5.0
    entities = things((0, 0, 60, 80), (0, 0, 40, 40))
    stored = masked(item(entities={"entities": entities}), logits)
    indices = stored.parts["masks.png"]
    assert indices.shape == (HEIGHT, WIDTH)
    assert (indices[2, 2], indices[70, 10], indices[70, 110]) == (2, 1, 0), "what lies in a larger one is on top"


def test_pictures_without_entities_have_empty_masks():
    for cls, backend in ((Sam, "sam"), (Sam3, "sam3")):
        answer = make(cls, "segmentation", backend).annotate([item(entities={"entities": []})])[0]
        assert (answer.values["areas"], answer.parts["masks.png"].max()) == ([], 0)


def test_sam3_matches_what_it_finds_with_the_entity_s_box():
    annotator = make(Sam3, "segmentation", "sam3")
    scores = np.array([0.9, 0.8, 0.1])
    boxes = np.array([[0, 0, 0.4, 0.4], [0.5, 0.5, 1, 1], [0.0, 0.0, 1.0, 1.0]])
    masks = np.stack([np.full((2, 2), value, np.float32) for value in (1, 2, 3)])
    assert annotator._matched(scores, boxes, masks, np.array([0.5, 0.5, 0.9, 0.9]))[0, 0] == 2
    assert annotator._matched(scores, boxes, masks, np.array([0.0, 0.0, 1, 1]))[0, 0] == -1, (
        "the third scores too little"
    )
    assert annotator._matched(scores[:0], boxes[:0], masks[:0], boxes[0])[0, 0] == -1


def test_vitpose_puts_a_peak_where_it_is_in_the_box():
    annotator = make(VitPose, "pose", "vitpose")
    maps = torch.zeros(1, 17, 16, 12)
    maps[:, :, 8, 6] = 0.9
    maps[0, 15:, 8, 6] = 0.1
    box = (40.0, 20.0, 70.0, 60.0)  # of the crops' shape, 3 to 4, which is widened by a quarter
    answer = annotator.finish(item(detection={"objects": things(box)}), maps)
    (person,) = answer.values["people"]
    points = np.array(person["keypoints"]).reshape(17, 3)
    np.testing.assert_allclose(points[0, :2], [55, 40], atol=2.5)
    assert points[0, 2] == pytest.approx(0.9, abs=1e-3)
    assert person["half_body"], "the ankles are not there"
    assert person["x0"] == 40.0


def test_vitpose_sees_no_point_outside_of_the_image():
    annotator = make(VitPose, "pose", "vitpose")
    maps = torch.zeros(1, 17, 16, 12)
    maps[:, :15, 8, 6] = 0.9
    maps[0, 15:, 15, 6] = 0.8  # the ankles at the lowest row of the crop, which reaches beyond the image
    given = item(detection={"objects": things((40.0, 20.0, 70.0, 80.0))})
    (person,) = annotator.finish(given, maps).values["people"]
    points = np.array(person["keypoints"]).reshape(17, 3)
    assert (points[15:, 1] > given.pixels.shape[0]).all()
    assert points[15:, 2].tolist() == [0.0, 0.0]
    assert points[0, 2] == pytest.approx(0.9, abs=1e-3)
    assert person["half_body"]


def test_nobody_and_a_crowd():
    annotator = make(VitPose, "pose", "vitpose", batch_people=4)
    crowd = item(detection={"objects": things(*[(i % 100, i % 40, i % 100 + 9, i % 40 + 20) for i in range(200)])})
    crowd.annotations["detection"].values["objects"][:] = [
        {**thing, "score": 0.9} for thing in crowd.annotations["detection"].values["objects"]
    ]
    nobody, many = annotator.annotate([item(detection={"objects": []}), crowd])
    assert (nobody.values["num_people"], many.values["num_people"]) == (0, annotator.max_people)


def test_openpose_gives_each_body_to_the_box_that_it_lies_in():
    annotator = make(OpenPose, "pose", "openpose")
    bodies = np.zeros((2, 18, 3))
    bodies[0, [0, 2, 5]] = [[0.75, 0.5, 0.8], [0.7, 0.6, 0.6], [0.8, 0.6, 0.4]]
    bodies[1, [0, 2]] = [[0.1, 0.5, 0.8], [0.1, 0.6, 0.8]]
    people = things((0, 0, 50, 80), (70, 0, 120, 80))
    answer = annotator.finish(item(detection={"objects": people}), bodies)
    (person,) = answer.values["people"]
    assert person["x0"] == 70, "two points are no body"
    points = np.array(person["keypoints"]).reshape(17, 3)
    assert points[0].tolist() == [90.0, 40.0, 0.8]
    assert points[5].tolist() == [96.0, 48.0, 0.4], "COCO's left shoulder is OpenPose's sixth point"
    assert points[6].tolist() == [84.0, 48.0, 0.6]
    assert points[1:5, 2].max() == points[7:, 2].max() == 0
    assert person["half_body"]


def test_siglip_s_logit_is_a_probability_and_clip_s_is_none():
    caption = item(caption={"caption": "a bus"})
    siglip = make(Siglip, "similarity", "siglip")
    assert siglip.finish(caption, (0.25, math.log(3))).values == {"similarity": 0.25, "probability": 0.75}
    assert siglip.finish(caption, (1.1, 900.0)).values == {"similarity": 1.0, "probability": 1.0}
    clip = make(Clip, "similarity", "clip")
    assert clip.finish(caption, (0.25, 30.0)).values == {"similarity": 0.25, "probability": None}
    assert clip.annotate([item(caption={"caption": None})]) == [
        Rejected("absent", "there is no caption to compare with")
    ]


def test_siglip_is_what_transformers_says():
    annotator = make(Siglip, "similarity", "siglip")
    picture = Item(
        "k", np.ascontiguousarray(photo("bus.jpg")[::8, ::8]), annotations={"caption": Annotation({"caption": "a bus"})}
    )
    (answer,) = annotator.annotate([picture])
    processor, network = annotator.network()
    inputs = processor(
        text=["a bus"], images=[picture.pixels], padding="max_length", max_length=16, return_tensors="pt"
    )
    with torch.no_grad():
        logit = network(**inputs).logits_per_image[0, 0]
    assert answer.values["probability"] == pytest.approx(torch.sigmoid(logit).item(), abs=1e-5)


def test_a_head_is_its_linear_layers_whatever_lay_between_them():
    layers = {0: (4, 3), 2: (3, 2), 5: (2, 1)}
    weights = {}
    for number, (read, write) in layers.items():
        weights[f"mlp.layers.{number}.weight"] = torch.full((write, read), 0.5)
        weights[f"mlp.layers.{number}.bias"] = torch.zeros(write)
    head = head_of(weights)
    assert head(torch.ones(1, 4)).item() == pytest.approx(2 * 0.5 * 3 * 0.5 * 2)
    with pytest.raises(ConfigError, match="must hold linear layers"):
        head_of({"logit_scale": torch.zeros(1)})


def test_all_unsafe_labels_count():
    annotator = make(NsfwClassifier, "nsfw", "classifier")
    assert annotator.finish(item(), np.array([0.75, 0.25])).values == {"nsfw": 0.25}
    with pytest.raises(ConfigError, match="unsafe of nsfw must name labels"):
        make(NsfwClassifier, "nsfw", "classifier", unsafe=("porn",))


def test_a_similarity_is_found_again():
    rng = np.random.default_rng(0)
    points, angle = rng.uniform(0, 100, (5, 2)), 0.7
    turn = 1.7 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = similarity_to(points, points @ turn.T + [3, -8])
    np.testing.assert_allclose(matrix, np.column_stack([turn, [3, -8]]), atol=1e-9)
    np.testing.assert_allclose(similarity_to(np.ones((5, 2)), points)[:, :2], np.eye(2))


def test_a_face_has_its_landmarks_and_an_identity_of_length_one():
    annotator = make(ArcFace, "faces", "arcface")
    (answer,) = annotator.annotate([Item("k", np.ascontiguousarray(photo("obama.jpg")[:256, :256]))])
    assert answer.values["num_faces"] > 0
    found = answer.values["faces"][0]
    assert found["score"] == pytest.approx(0.9, abs=0.02)
    assert len(found["landmarks"]) == 10
    assert np.linalg.norm(found["identity"]) == pytest.approx(1, abs=1e-4)
