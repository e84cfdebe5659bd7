"""Pairs from tars, by the names of their members. PYTHONPATH=. python -m pytest tests/sources/test_tar_pairs.py"""

import json
import pickle

import pytest

from onegen.errors import ConfigError, SampleError
from onegen.sample import Panel
from onegen.shards.plan import PlannedItem, make_plan, read_plan
from onegen.sources.pairs import Pairs
from tests.exports import tar_bytes
from tests.fabricated import memory_store

ABOUT = {"prompt": "Make it blue.", "score": 7, "say": {"before": "a red thing"}, "link": "https://x.example/0"}
KEY = [
    ("0.source.jpg", b"source"), ("0.target.jpg", b"target"), ("0.json", json.dumps(ABOUT).encode()),
    ("0.txt", b"Paint it.\n"),
]  # fmt: skip
NAMES = {"target": "target.jpg", "source": "source.JPG"}


def write(tmp_path, members, **options: object) -> Pairs:
    (tmp_path / "a.tar").write_bytes(tar_bytes(members))
    return Pairs(f"{tmp_path}/*.tar", **options)


def plan(source: Pairs) -> list[PlannedItem]:
    """List a source as a build does, and return its items in order."""
    with memory_store("tar-pairs") as store:
        summary = make_plan(store, source.listing(), 1000)
        return [row for shard in range(summary.shards) for row in read_plan(store, shard)]


def failed(source: Pairs, item: PlannedItem) -> tuple[str, str]:
    with pytest.raises(SampleError) as caught:
        source.read(item)
    return caught.value.reason, str(caught.value)


def test_members_of_a_key_are_a_pair(tmp_path):
    options = {
        "instruction": "json.prompt",
        "source_caption": "json.say.before",
        "url": "json.link",
        "keep": ("score",),
    }
    source = write(tmp_path, KEY, **NAMES, **options)
    (item,) = plan(source)
    assert item.item == "a.tar#0"
    assert list(source.provides["metadata"].fields) == ["score", "url"]
    travelled = pickle.loads(pickle.dumps(source))
    pair = travelled.read(item)
    assert [image.data for image in pair.images] == [b"target", b"source"]
    assert [image.caption for image in pair.images] == [None, "a red thing"]
    assert pair.instruction == "Make it blue."
    assert travelled.annotations(item)["metadata"].values == {"score": 7, "url": "https://x.example/0"}


def test_words_may_be_a_member_of_their_own(tmp_path):
    source = write(tmp_path, KEY, **NAMES, instruction="txt")
    (item,) = plan(source)
    assert source.read(item).instruction == "Paint it."
    assert source.provides == {}
    assert source.annotations(item) == {}


def test_one_member_may_hold_both_side_by_side(tmp_path):
    source = write(tmp_path, [("0.jpg", b"both"), ("0.txt", b"a cup")], image="jpg", margin=8, subject="txt")
    (item,) = plan(source)
    pair = source.read(item)
    assert [(image.data, image.panel) for image in pair.images] == [
        (b"both", Panel(1, 2, 8)),
        (b"both", Panel(0, 2, 8)),
    ]
    assert len(item.images) == 2


def test_a_member_no_key_has_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(
        ConfigError, match="target must name a member .* got 'after.jpg'; they have json, source.jpg, t"
    ):
        plan(write(tmp_path, KEY, target="after.jpg", source="source.jpg", instruction="txt"))
    with pytest.raises(ConfigError, match="instruction must name a member of the keys .* got 'prompt.txt'"):
        plan(write(tmp_path, KEY, **NAMES, instruction="prompt.txt"))
    with pytest.raises(ConfigError, match="keep must name what the JSON .* did you mean 'score'"):
        write(tmp_path, KEY, **NAMES, instruction="txt", keep=("scor",)).provides  # noqa: B018
    with pytest.raises(ConfigError, match="image_root must stand beside tables"):
        write(tmp_path, KEY, **NAMES, instruction="txt", image_root=".")


def test_a_key_that_lacks_something_fails_alone_and_says_what_it_has(tmp_path):
    lacking = [
        ("1.source.jpg", b"1"), ("1.txt", b"w"), ("2.target.jpg", b"2"), ("2.txt", b"w"), ("3.json", b"{}"),
        ("4.source.jpg", b"4"), ("4.target.jpg", b"4"), ("5.source.jpg", b"5"), ("5.target.jpg", b"5"),
        ("5.target.jpg", b"6"), ("5.txt", b"w"), ("6.source.jpg", b"7"), ("6.target.jpg", b"8"), ("6.txt", b"\xff"),
    ]  # fmt: skip
    source = write(tmp_path, [*KEY, *lacking], **NAMES, instruction="txt")
    sound, *others = plan(source)
    assert source.read(sound).instruction == "Paint it."
    assert failed(source, others[0]) == (
        "no_target",
        "a.tar#1 must have a member target.jpg, got 1.source.jpg, 1.txt.",
    )
    reasons = [failed(source, item)[0] for item in others]
    assert reasons == ["no_target", "no_source", "no_target", "no_instruction", "two_images", "bad_sidecar"]


def test_a_tar_that_breaks_off_is_one_failure_and_what_stands_before_is_read(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar_bytes(KEY)[: 512 * 8])
    source = Pairs(str(tmp_path / "a.tar"), **NAMES, instruction="txt")
    damage, sound = plan(source)
    assert failed(source, damage)[0] == "damaged_tar"
    assert source.read(sound).images[0].data == b"target"
