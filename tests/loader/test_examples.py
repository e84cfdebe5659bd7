"""What becomes of a sample, task by task. PYTHONPATH=. python -m pytest tests/loader/test_examples.py"""

import itertools

import numpy as np
import pytest

from onegen.errors import SampleError
from onegen.geometry.cameras import Camera
from onegen.loader.choices import Choices
from onegen.loader.draw import Draw
from onegen.loader.examples import make_example, read_example
from onegen.loader.framing import Frame
from onegen.loader.needs import NEEDS
from onegen.loader.reader import Reader
from onegen.loader.stored import Stored, key_number
from onegen.tasks.prompt import Prompt
from onegen.tasks.table import TASKS, check_mask, find_tasks, view_roles
from tests.loader.street import PER_SHARD, key_of, people, write_sets
from tests.pictures import encode, jpeg

PLAIN = Choices(text_dropout=0.0)
ALONE = [name for name, needs in NEEDS.items() if needs.kind == "image"]


def draw(task: str, number: int = 1, size: tuple[int, int] = (64, 96), **changes: object) -> Draw:
    shard, position = divmod(number, PER_SHARD)
    return Draw(0, shard, position, key_number(key_of(number)), task, (0,), size, 7)._replace(**changes)


@pytest.fixture(params=["columns", "packed"])
def reader(street, request):
    opened = Reader(street, "street", request.param == "packed", check_parts=True)
    yield opened
    opened.close()


@pytest.mark.parametrize("task", ALONE)
def test_every_task_of_single_pictures(reader, task):
    example = read_example(reader, draw(task, 1, (96, 64)), PLAIN)
    roles = view_roles(find_tasks(task), len(TASKS[task].views))
    assert (example.task, example.key, example.dataset) == (task, key_of(1), "street")
    assert example.roles == roles
    assert [view.shape for view in example.views] == [(96, 64, 3)] * len(roles)
    assert all(view.dtype == np.uint8 for view in example.views)
    prompt = Prompt.parse(example.prompt)
    assert prompt.tasks == (task,)
    assert prompt.captions == ("picture 1.",)
    assert bool(prompt.entities) == bool(TASKS[task].entities)


@pytest.mark.parametrize("task", [name for name in ALONE if len(TASKS[name].generated) > 1])
def test_one_example_serves_both_directions(reader, task):
    example = read_example(reader, draw(task), PLAIN)
    for mask in ((1, 0), (0, 1)):
        assert check_mask(find_tasks(task), mask) == example.roles


def test_both_views_of_a_reader_give_the_same_examples(street):
    columns, packed = (Reader(street, "street", is_packed) for is_packed in (False, True))
    for task in ALONE:
        a, b = (read_example(each, draw(task, 5), PLAIN) for each in (columns, packed))
        assert a.prompt == b.prompt
        assert all(np.array_equal(x, y) for x, y in zip(a.views, b.views, strict=True))


def test_picture_and_map_share_one_crop():
    # a bright bar at x = 40..47 of both, in a picture that loses its sides
    pixels, depth = np.zeros((40, 120, 3), np.uint8), np.zeros((40, 120), np.uint16)
    pixels[:, 72:80], depth[:, 72:80] = 255, 65535
    frame = Frame.centred((40, 120), (40, 40))
    assert frame.crop == (0, 40, 40, 40)
    shown, mapped = frame.picture(encode(pixels, "PNG")), frame.map(depth)
    assert np.array_equal(shown[:, :, 0] > 127, mapped > 32767)
    assert np.flatnonzero(shown[0, :, 0] > 127).tolist() == list(range(32, 40))
    assert frame.points(np.array([[72.0, 10.0]])).tolist() == [[32.0, 10.0]]
    assert frame.box({"x0": 72, "y0": 0, "x1": 90, "y1": 40}) == {"x0": 32, "y0": 0, "x1": 40, "y1": 40}


def test_scaled_decode_shows_the_same_place():
    pixels = np.zeros((512, 768, 3), np.uint8)
    pixels[128:256, 384:512] = 255
    frame = Frame.centred((512, 768), (64, 64))
    small = frame.picture(encode(pixels, "JPEG", quality=95))[:, :, 0] > 127
    large = frame.picture(encode(pixels, "PNG"))[:, :, 0] > 127
    assert (small ^ large).sum() <= 16
    rows, columns = np.nonzero(small)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16, 31, 32, 47)


def test_what_is_cropped_out_leaves_the_prompt(reader):
    # 128 x 40 to a square: the thirds at both sides lose all but little
    wide = read_example(reader, draw("boundingbox2image", 3, (64, 192)), PLAIN)
    square = read_example(reader, draw("boundingbox2image", 3, (64, 64)), PLAIN)
    assert [e.label for e in Prompt.parse(wide.prompt).entities] == ["cat", "dog"]
    assert Prompt.parse(square.prompt).entities == ()
    assert not square.views[1].any()
    masks = read_example(reader, draw("semanticmap2image", 3, (64, 64)), PLAIN)
    assert Prompt.parse(masks.prompt).entities == ()
    mapped = read_example(reader, draw("semanticmap2image", 3, (40, 128)), PLAIN)
    assert [(e.label, e.colour) for e in Prompt.parse(mapped.prompt).entities] == [("cat", "red"), ("dog", "blue")]
    assert mapped.views[1][0, 0].tolist() == [255, 0, 0]
    assert mapped.views[1][0, -1].tolist() == [0, 0, 255]
    assert mapped.views[1][0, 64].tolist() == [0, 0, 0]


def test_people_move_with_the_crop():
    frame = Frame.centred((96, 64), (48, 32))
    (person,) = frame.people(people(1))
    assert np.allclose(np.reshape(person["keypoints"], (17, 3))[:, 0], 16)
    assert Frame((96, 64), (0, 0, 96, 20), (96, 20)).people(people(1)) == []


def test_a_dropped_text_leaves_the_token_and_nothing_else(reader):
    never = Choices(text_dropout=1.0)
    assert read_example(reader, draw("semanticmap2image"), never).prompt == "[[semanticmap2image]]"
    rate = sum(
        read_example(reader, draw("text2image", seed=seed), Choices(text_dropout=0.3)).prompt == "[[text2image]]"
        for seed in range(300)
    )
    assert 60 <= rate <= 120


def test_a_dropped_condition_leaves_the_picture(reader):
    example = read_example(reader, draw("depth2image", is_alone=True), PLAIN)
    assert (example.roles, len(example.views)) == (("image",), 1)
    assert example.prompt == "[[depth2image]] picture 1."


def test_one_of_several_captions_is_drawn(reader):
    both = Choices(text_dropout=0.0, captions=("caption", "original"))
    drawn = {read_example(reader, draw("text2image", seed=seed), both).prompt for seed in range(20)}
    assert drawn == {"[[text2image]] picture 1.", "[[text2image]] original 1"}


def test_captions_cannot_speak_the_language_of_prompts():
    values = {"image": {"width": 48, "height": 32, "caption": "a [[faceid]] <#FF0000 \n<item: x> cat"}}
    stored = Stored("d", "k", "image", values, {(0, "jpg"): jpeg()})
    example = make_example(stored, draw("text2image", size=(32, 48)), PLAIN)
    assert example.prompt == "[[text2image]] a faceid FF0000 x> cat"


def test_faults_have_reasons():
    values = {"image": {"width": 48, "height": 32, "caption": "a cat"}, "entities": {"entities": []}}
    sound = {(0, "jpg"): jpeg()}
    ones = encode(np.ones((32, 48), np.uint8), "PNG")
    broken = {
        "unreadable_image": ("text2image", {(0, "jpg"): b"\xff\xd8\xff broken"}),
        "absent": ("depth2image", sound),
        "wrong_size": ("text2image", {(0, "jpg"): jpeg(0, 64, 64)}),
        "unreadable_part": ("depth2image", {**sound, (0, "depth.png"): b"no png"}),
        "wrong_entities": (
            "semanticmap2image",
            {**sound, (0, "masks.png"): ones},
        ),
    }
    for reason, (task, parts) in broken.items():
        with pytest.raises(SampleError) as error:
            make_example(Stored("d", "k", "image", values, parts), draw(task, size=(32, 48)), PLAIN)
        assert error.value.reason == reason


def colours(example) -> list[int]:
    """Return which image each view is, by the red that images of sets are painted with."""
    return [round((int(np.median(view[:, :, 0])) - 16) / 40) for view in example.views if isinstance(view, np.ndarray)]


def test_identities_show_two_to_five_of_their_images(tmp_path):
    reader = Reader(write_sets(tmp_path, "identity", [6], subject="Ada"), "faces", False)
    key = key_number(key_of(1000))
    example = read_example(reader, Draw(0, 0, 0, key, "faceid", (4, 0, 2), (64, 64), 3), PLAIN)
    assert example.roles == ("image", "reference", "reference")
    assert colours(example) == [4, 0, 2]
    assert Prompt.parse(example.prompt).captions == tuple(f"sample 0 image {image}" for image in (4, 0, 2))
    dropped = read_example(reader, Draw(0, 0, 0, key, "faceid", (4, 0), (64, 64), 3), Choices(text_dropout=1.0))
    assert dropped.prompt == "[[faceid]] [[img0]] [[img1]]"


def test_subject_pairs_go_both_ways_and_edits_one(tmp_path):
    pairs = Reader(write_sets(tmp_path / "s", "pair", [2], subject="a <red> mug"), "subjects", False)
    key = key_number(key_of(1000))
    for images in itertools.permutations((0, 1)):
        example = read_example(pairs, Draw(0, 0, 0, key, "subject_driven", images, (64, 64), 3), PLAIN)
        assert colours(example) == list(images)
        prompt = Prompt.parse(example.prompt)
        assert (prompt.item, prompt.captions) == ("a red mug", tuple(f"sample 0 image {image}" for image in images))
    edits = Reader(write_sets(tmp_path / "e", "pair", [2], instruction="make it snow"), "edits", False)
    edit = read_example(edits, Draw(0, 0, 0, key, "image_editing", (0, 1), (64, 80), 3), PLAIN)
    assert (edit.prompt, edit.roles, colours(edit)) == ("[[image_editing]] make it snow", ("image", "source"), [0, 1])


def test_scenes_have_a_camera_beside_every_picture(tmp_path):
    reader = Reader(write_sets(tmp_path, "scene", [4]), "scenes", False)
    key = key_number(key_of(1000))
    example = read_example(reader, Draw(0, 0, 0, key, "multiview", (2, 0, 3), (64, 64), 3), PLAIN)
    assert example.roles == ("image", "ray") * 3
    assert colours(example) == [2, 0, 3]
    cameras = example.views[1::2]
    assert all(isinstance(camera, Camera) and camera.focal == (1.2, 1.2) for camera in cameras)
    assert np.linalg.norm(cameras[0].center) == pytest.approx(1.7, abs=1e-6), "the scene is scaled as in training"
    assert example.size == (64, 64)
