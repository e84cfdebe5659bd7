"""PYTHONPATH=. python -m pytest tests/sources/test_pairs.py"""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from onegen.config.recipe import make_source
from onegen.errors import ConfigError, SampleError
from onegen.pixels.upright import cut, decode, open_header
from onegen.sample import Panel, SourceItem
from onegen.shards.key import member_digest
from onegen.shards.plan import PlannedItem, make_plan, read_plan
from onegen.sources.pairs import Pairs
from tests.exports import (
    INSTRUCT_PIX2PIX,
    OMNIEDIT,
    SUBJECTS200K,
    instruct_pix2pix_rows,
    omniedit_rows,
    subjects200k_rows,
    table_bytes,
    write_rows,
)
from tests.fabricated import memory_store
from tests.pictures import jpeg, png, smooth


def plan(source: Pairs) -> list[PlannedItem]:
    """List a source as a build does, and return its items in order."""
    with memory_store("pairs") as store:
        summary = make_plan(store, source.listing(), 1000)
        return [row for shard in range(summary.shards) for row in read_plan(store, shard)]


def read(source: Pairs) -> list[SourceItem | str]:
    """Return what each item is, or why it cannot be read."""
    outcomes: list[SourceItem | str] = []
    for item in plan(source):
        try:
            outcomes.append(source.read(item))
        except SampleError as error:
            outcomes.append(error.reason)
    return outcomes


def failed(source: Pairs, item: PlannedItem) -> tuple[str, str]:
    with pytest.raises(SampleError) as caught:
        source.read(item)
    return caught.value.reason, str(caught.value)


def bytes_of(item: SourceItem) -> list[bytes]:
    return [image.data for image in item.images]


def two(tmp_path, rows: int = 2, **columns: list) -> str:
    """Write a table of targets `t`, sources `s` and instructions `say`, which `columns` may replace, and more."""
    base = {"t": [png(n) for n in range(rows)], "s": [jpeg(n) for n in range(rows)], "say": ["turn it"] * rows}
    path = tmp_path / "two.parquet"
    path.write_bytes(table_bytes({**base, **columns}))
    return str(path)


MAPPED = {"target": "t", "source": "s", "instruction": "say"}


def test_an_item_is_a_row_and_counts_its_file_twice(tmp_path):
    path = write_rows(tmp_path / "a.parquet", omniedit_rows(5))
    items = plan(make_source({"pairs": str(path), **OMNIEDIT}))
    assert [item.item for item in items] == [f"a.parquet#{row:010d}" for row in range(5)]
    assert [[file.uri for file in item.images] for item in items] == [[item.item] * 2 for item in items]
    assert {file.size for item in items for file in item.images} == {path.stat().st_size}


def test_omniedit_gives_the_edited_picture_first_and_the_first_paraphrase(tmp_path):
    write_rows(tmp_path / "a.parquet", omniedit_rows(7))
    source = make_source({"pairs": str(tmp_path), **OMNIEDIT})
    items = read(source)
    assert [bytes_of(item) for item in items] == [[jpeg(1000 + n), jpeg(n)] for n in range(7)]
    assert [item.instruction for item in items] == [f"Remove thing {n}." for n in range(7)]
    assert {item.subject for item in items} == {None}
    assert {image.panel for item in items for image in item.images} == {None}
    kept = [source.annotations(item)["metadata"].values for item in plan(source)]
    assert kept[4] == {"task": "addition", "o_score": 3.6}


def test_an_omniedit_that_datasets_wrote_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    exported = datasets.Dataset.from_list(omniedit_rows(7))
    for column in ("src_img", "edited_img"):
        exported = exported.cast_column(column, datasets.Image())
    exported = exported.cast_column("task", datasets.ClassLabel(names=["removal", "addition", "style"]))
    exported.to_parquet(str(tmp_path / "train-00000-of-00001.parquet"), batch_size=3)
    keep = ["task", "edited_prompt_list", "o_score"]
    source = make_source({"pairs": str(tmp_path / "train-*.parquet"), **OMNIEDIT, "keep": keep})
    items = read(source)
    assert [bytes_of(item) for item in items] == [[jpeg(1000 + n), jpeg(n)] for n in range(7)]
    assert [item.instruction for item in items] == [f"Remove thing {n}." for n in range(7)]
    assert source.annotations(plan(source)[5])["metadata"].values == {
        "task": 2, "edited_prompt_list": ["Remove thing 5.", "Take thing 5 away."], "o_score": 4.5,
    }  # fmt: skip


def test_a_subjects200k_that_datasets_wrote_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    exported = datasets.Dataset.from_list(subjects200k_rows(5)).cast_column("image", datasets.Image())
    exported.to_parquet(str(tmp_path / "train.parquet"), batch_size=2)
    source = make_source({"pairs": str(tmp_path), **SUBJECTS200K})
    assert [item.subject for item in read(source)] == [f"Thing {n}" for n in range(5)]
    assert source.annotations(plan(source)[3])["metadata"].values["quality_assessment"] is None


def test_instruct_pix2pix_is_read(tmp_path):
    write_rows(tmp_path / "a.parquet", instruct_pix2pix_rows(4))
    items = read(make_source({"pairs": str(tmp_path), **INSTRUCT_PIX2PIX}))
    assert [bytes_of(item) for item in items] == [[png(1000 + n), png(n)] for n in range(4)]
    assert [item.instruction for item in items] == [f"make it number {n}" for n in range(4)]


def test_subjects200k_is_one_picture_whose_halves_are_named(tmp_path):
    rows = subjects200k_rows(4)
    write_rows(tmp_path / "a.parquet", rows)
    source = make_source({"pairs": str(tmp_path), **SUBJECTS200K})
    items = read(source)
    for n, item in enumerate(items):
        target, left = item.images
        assert target.data == left.data == rows[n]["image"]["bytes"]
        assert (target.panel, left.panel) == (Panel(1, 2, 8), Panel(0, 2, 8))
        assert (target.caption, left.caption) == (f"right {n}", f"left {n}")
        assert (item.subject, item.instruction) == (f"Thing {n}", None)
    kept = [source.annotations(item)["metadata"].values for item in plan(source)]
    assert [values["quality_assessment"] for values in kept] == [row["quality_assessment"] for row in rows]


@pytest.mark.parametrize(("side", "target", "other"), [("right", 1000, 0), ("left", 0, 1000)])
def test_the_target_side_says_which_half_is_cut_out(tmp_path, side, target, other):
    write_rows(tmp_path / "a.parquet", subjects200k_rows(1))
    (pair,) = read(make_source({"pairs": str(tmp_path), **SUBJECTS200K, "target_side": side}))
    pixels = []
    for image in pair.images:
        pixels.append(np.asarray(cut(decode(open_header(image.data), image.data), image.panel).image))
    np.testing.assert_array_equal(pixels[0], smooth(target, 32, 32))
    np.testing.assert_array_equal(pixels[1], smooth(other, 32, 32))


PANELS = [[12, 2, 20, 10], [1, 1, 9, 10]]


def test_panels_are_cut_where_the_recipe_says(tmp_path):
    write_rows(tmp_path / "a.parquet", subjects200k_rows(1))
    mapped = {name: value for name, value in SUBJECTS200K.items() if name != "margin"}
    (pair,) = read(make_source({"pairs": str(tmp_path), **mapped, "panels": PANELS}))
    whole = Image.open(io.BytesIO(pair.images[0].data))
    for image, box in zip(pair.images, PANELS, strict=True):
        upright = cut(decode(open_header(image.data), image.data), image.panel)
        np.testing.assert_array_equal(np.asarray(upright.image), np.asarray(whole.crop(box)))
    one, other = (member_digest(image) for image in pair.images)
    assert one != other


def test_a_picture_that_is_too_small_for_a_panel_has_none(tmp_path):
    write_rows(tmp_path / "a.parquet", subjects200k_rows(1))
    mapped = {name: value for name, value in SUBJECTS200K.items() if name != "margin"}
    (pair,) = read(make_source({"pairs": str(tmp_path), **mapped, "panels": [PANELS[0], [0, 0, 5000, 5]]}))
    image = pair.images[1]
    with pytest.raises(SampleError, match=r"image must hold the panel \[0, 0, 5000, 5\]") as caught:
        cut(decode(open_header(image.data), image.data), image.panel)
    assert caught.value.reason == "no_panel"


def test_any_paraphrase_may_be_drawn(tmp_path):
    path = two(tmp_path, rows=40, say=[["a", "b"]] * 40)
    pairs = read(make_source({"pairs": path, **MAPPED, "instruction": {"column": "say", "pick": "random"}}))
    assert {pair.instruction for pair in pairs} == {"a", "b"}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (pa.string(), "plain", "plain"),
        (pa.large_string(), "plain", "plain"),
        (pa.dictionary(pa.int16(), pa.string()), "plain", "plain"),
        (pa.list_(pa.string()), ["first", "second"], "first"),
        (pa.large_list(pa.large_string()), ["first"], "first"),
        (pa.list_(pa.string(), 2), ["first", "second"], "first"),
        (pa.list_(pa.dictionary(pa.int8(), pa.string())), ["first", "second"], "first"),
        (pa.string(), None, "no_instruction"),
        (pa.string(), "", "no_instruction"),
        (pa.string(), " \n\t", "no_instruction"),
        (pa.list_(pa.string()), None, "no_instruction"),
        (pa.list_(pa.string()), [], "no_instruction"),
        (pa.list_(pa.string()), [None, " "], "no_instruction"),
        (pa.list_(pa.string()), [None, "second"], "second"),
        (pa.list_(pa.string()), ["", "second"], "second"),
        (pa.string(), "bell \x07 and \x00, \x1b[31mred\r\n\t", "bell \x07 and \x00, \x1b[31mred\r\n\t"),
        (pa.string(), "\u2028 日本 😀 \u202e", "\u2028 日本 😀 \u202e"),
        (pa.string(), "é" * 100_000, "é" * 100_000),
    ],
)
def test_an_instruction_is_text_or_the_first_of_a_list(tmp_path, kind, value, expected):
    path = two(tmp_path, rows=1, say=pa.array([value], kind))
    (outcome,) = read(make_source({"pairs": path, **MAPPED}))
    assert (outcome if isinstance(outcome, str) else outcome.instruction) == expected


def invalid_text(*values: bytes) -> pa.Array:
    """Return text as a writer leaves it that does not check its UTF-8."""
    plain = pa.array(values, pa.binary())
    return pa.StringArray.from_buffers(len(values), plain.buffers()[1], plain.buffers()[2])


@pytest.mark.parametrize("wrong", [b"caf\xe9", b"\xed\xa0\xbd", b"\xff\xfe\x00"])
def test_text_that_is_no_utf_8_fails_its_row_alone(tmp_path, wrong):
    path = two(tmp_path, rows=3, say=invalid_text(b"one", wrong, b"three"))
    source = make_source({"pairs": path, **MAPPED})
    first, second, third = read(source)
    assert (first.instruction, second, third.instruction) == ("one", "source_unreadable", "three")
    assert "two.parquet#1 must be readable: 'utf-8' codec" in failed(source, plan(source)[1])[1]


def test_what_is_missing_fails_that_pair_alone_and_says_which(tmp_path):
    path = two(tmp_path, rows=4, t=[png(0), None, png(2), png(3)], s=[None, jpeg(1), jpeg(2), b""])
    source = make_source({"pairs": path, **MAPPED})
    items = plan(source)
    assert failed(source, items[0]) == ("no_source", "s must hold an image, got null in two.parquet#0000000000.")
    assert failed(source, items[1]) == ("no_target", "t must hold an image, got null in two.parquet#0000000001.")
    assert bytes_of(source.read(items[2])) == [png(2), jpeg(2)]
    assert bytes_of(source.read(items[3])) == [png(3), b""], "ingest says that there are no bytes"


def test_structs_that_are_null_are_missing_too(tmp_path):
    rows = subjects200k_rows(4)
    rows[0]["image"] = None
    rows[1]["description"] = None
    rows[2]["description"] = {**rows[2]["description"], "item": None, "description_0": None}
    write_rows(tmp_path / "a.parquet", rows)
    source = make_source({"pairs": str(tmp_path), **SUBJECTS200K})
    assert [outcome if isinstance(outcome, str) else outcome.subject for outcome in read(source)] == [
        "no_image", "no_subject", "no_subject", "Thing 3",
    ]  # fmt: skip
    assert "description.item must say something, got null" in failed(source, plan(source)[1])[1]


def test_paths_fail_naming_target_or_source(tmp_path):
    for name in ("in/a.png", "in/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png())
    columns = {"t": ["a.png", "gone.png", "a.png", "../x.png"], "s": ["b.png", "b.png", "lost.png", "b.png"]}
    (tmp_path / "in/two.parquet").write_bytes(table_bytes({**columns, "say": ["turn it"] * 4}))
    source = make_source({"pairs": str(tmp_path / "in/two.parquet"), **MAPPED})
    good, no_target, no_source, outside = plan(source)
    assert bytes_of(source.read(good)) == [png(), png()]
    reason, message = failed(source, no_target)
    assert reason == "source_gone"
    assert f"{tmp_path}/in/gone.png must be there, it is the target of two.parquet#0000000001." in message
    reason, message = failed(source, no_source)
    assert reason == "source_gone"
    assert f"{tmp_path}/in/lost.png must be there, it is the source of" in message
    reason, message = failed(source, outside)
    assert reason == "outside_root"
    assert message.startswith("target path must lie below")
    (tmp_path / "in/folder").mkdir()
    (tmp_path / "in/gone.png").symlink_to("folder")
    assert failed(source, no_target)[0] == "source_unreadable"
    assert "gone.png, the target of two.parquet#0000000001, must be readable" in failed(source, no_target)[1]


def test_paths_may_start_from_image_root(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.png").write_bytes(png(1))
    path = two(tmp_path, rows=1, t=["a.png"])
    source = make_source({"pairs": path, **MAPPED, "image_root": str(tmp_path / "pictures")})
    assert bytes_of(source.read(plan(source)[0])) == [png(1), jpeg(0)]


def test_a_folder_whose_name_begins_like_the_root_is_outside(tmp_path):
    for name in ("in", "in-evil"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(png(1))
    path = two(tmp_path, rows=3, t=["a.png", "../in-evil/a.png", f"{tmp_path}/in-evil/a.png"])
    source = make_source({"pairs": path, **MAPPED, "image_root": str(tmp_path / "in")})
    inside, *outside = plan(source)
    assert bytes_of(source.read(inside))[0] == png(1)
    for item in outside:
        reason, message = failed(source, item)
        assert reason == "outside_root"
        assert message.startswith(f"target path must lie below {tmp_path}/in, got ")


def test_rights_are_of_both_and_captions_of_each(tmp_path):
    columns = {"tc": ["after", None], "sc": ["before", ""], "l": ["CC0-1.0", None], "who": ["Ann", None]}
    path = two(tmp_path, **columns, link=["https://pictures.example/1", None])
    mapped = {"target_caption": "tc", "source_caption": "sc", "licence": "l", "attribution": "who", "url": "link"}
    source = make_source({"pairs": path, **MAPPED, **mapped})
    first, second = read(source)
    assert [(image.caption, image.licence, image.attribution) for image in first.images] == [
        ("after", "CC0-1.0", "Ann"), ("before", "CC0-1.0", "Ann"),
    ]  # fmt: skip
    assert [(image.caption, image.licence, image.attribution) for image in second.images] == [(None, None, None)] * 2
    assert source.annotations(plan(source)[0])["metadata"].values == {"url": "https://pictures.example/1"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"instruction": "i"}, "either image or both target and source, got none of them. Name two columns"),
        ({"instruction": "i", "target": "t"}, "either image or both target and source, got target."),
        ({"instruction": "i", "source": "s"}, "either image or both target and source, got source."),
        ({"instruction": "i", "image": "p", "source": "s"}, "target and source, got image and source."),
        ({"instruction": "i", "image": "p", "target": "t", "source": "s"}, "got image and target and source."),
        ({"target": "t", "source": "s"}, "either instruction or subject, got neither. Name the column"),
        ({"target": "t", "source": "s", "instruction": "i", "subject": "j"}, "or subject, got both."),
        ({"image": "p", "subject": "j", "margin": -1}, "margin must be at least 0 pixels, got -1."),
        ({"target": "t", "source": "s", "subject": "j", "margin": 8}, "margin, target_side and panels must stand"),
        ({"target": "t", "source": "s", "subject": "j", "target_side": "left"}, "must stand beside image"),
        ({"target": "t", "source": "s", "subject": "j", "panels": [[0, 0, 1, 1]] * 2}, "must stand beside image"),
        ({"image": "p", "subject": "j", "panels": [[0, 0, 1, 1]] * 2, "margin": 8}, "without margin and target_side"),
        ({"image": "p", "subject": "j", "panels": [[0, 0, 1, 1], [5, 0, 5, 9]]}, "got [5, 0, 5, 9]. Subjects200K"),
        ({"image": "p", "subject": "j", "panels": [[0, 0, 1, 1], [-1, 0, 5, 9]]}, "got [-1, 0, 5, 9]"),
        ({"image": "p", "subject": "j", "panels": [[0, 0, 1, 1]]}, "panels"),
        ({"image": "p", "subject": "j", "panels": [[0, 0, 1], [1, 2, 3]]}, "panels"),
        ({"target": "t", "source": "t", "subject": "j"}, "target and source must be two columns, got 't' twice."),
        ({"image": "p", "subject": "j", "target_side": "top"}, "must be 'left' or 'right'"),
        ({"image": "p", "subject": "j", "targets": "t"}, "source 'pairs' has no option 'targets'; did you mean"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused_at_once(options, message):
    with pytest.raises(ConfigError) as caught:
        make_source({"pairs": "./none", **options})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "option", ["target", "source", "instruction", "target_caption", "source_caption", "licence", "attribution", "keep"]
)
def test_a_column_that_is_not_there_is_named(tmp_path, option):
    path = two(tmp_path, about=[{"item": "x"}] * 2)
    wrong = ["about.itm"] if option == "keep" else "about.itm"
    with pytest.raises(ConfigError) as caught:
        plan(make_source({"pairs": path, **MAPPED, option: wrong}))
    assert str(caught.value) == (
        f"{option} must name a column of {path}, got 'about.itm'; it has t, s, say, about; "
        f"did you mean 'about.item'?"
    )  # fmt: skip


def test_columns_of_no_use_are_refused(tmp_path):
    path = two(tmp_path, number=[1, 2], lists=[["a"], ["b"]], deep=[[["a"]], [["b"]]])
    for change, message in [
        ({"target": "number"}, "target column must hold bytes, paths or {bytes, path} structs, got int64 in 'number'"),
        ({"source": "lists"}, "source column must hold bytes, paths or {bytes, path} structs, got list"),
        ({"instruction": "number"}, "instruction column must hold text or lists of it, got int64 in 'number'"),
        ({"instruction": "deep"}, "instruction column must hold text or lists of it, got list"),
        ({"target_caption": "lists"}, "target_caption column must hold text, got list"),
    ]:
        with pytest.raises(ConfigError) as caught:
            plan(make_source({"pairs": path, **MAPPED, **change}))
        assert str(caught.value).startswith(message)


def test_a_column_whose_own_name_has_the_dots_comes_first(tmp_path):
    about = [{"item": "of the struct", "deep": {"er": 1}}] * 2
    path = two(tmp_path, about=about, **{"about.item": ["of its own", None]})
    source = make_source({"pairs": path, "target": "t", "source": "s", "subject": "about.item"})
    own, missing = read(source)
    assert (own.subject, missing) == ("of its own", "no_subject")
    nested = make_source({"pairs": path, **MAPPED, "keep": ["about.deep.er", "about"]})
    assert nested.annotations(plan(nested)[0])["metadata"].values == {"about.deep.er": 1, "about": about[0]}


def test_of_several_ways_to_read_a_name_the_longest_column_comes_first(tmp_path):
    columns = {"about.item": [{"name": "long"}] * 2, "about": [{"item": {"name": "short"}}] * 2}
    path = two(tmp_path, **columns)
    source = make_source({"pairs": path, "target": "t", "source": "s", "subject": "about.item.name"})
    assert [item.subject for item in read(source)] == ["long", "long"]


def test_only_the_fields_that_are_named_are_read(tmp_path, monkeypatch):
    seen = []
    plain = pq.ParquetFile.iter_batches

    def iter_batches(self, *args, **kwargs):
        for batch in plain(self, *args, **kwargs):
            seen.append(batch.schema)
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
    write_rows(tmp_path / "a.parquet", subjects200k_rows(3))
    source = make_source({"pairs": str(tmp_path), **SUBJECTS200K, "keep": ["quality_assessment.imageQuality"]})
    items = plan(source)
    assert source.provides
    assert seen == []
    source.read(items[0])
    (schema,) = seen
    assert set(schema.names) == {"image", "description"}
    assert [field.name for field in schema.field("description").type] == ["item", "description_0", "description_1"]
    assert source.annotations(items[0])["metadata"].values == {"quality_assessment.imageQuality": 4}
    assert str(seen[1]) == "quality_assessment: struct<imageQuality: int64>\n  child 0, imageQuality: int64"


def test_a_picture_that_is_a_field_of_a_struct_is_found(tmp_path):
    rows = [{"pair": {"after": {"bytes": png(1)}, "before": {"bytes": png(2)}, "say": ["go"]}}]
    write_rows(tmp_path / "a.parquet", rows)
    mapped = {"target": "pair.after", "source": "pair.before", "instruction": "pair.say"}
    (pair,) = read(make_source({"pairs": str(tmp_path), **mapped}))
    assert bytes_of(pair) == [png(1), png(2)]
    (again,) = read(make_source({"pairs": str(tmp_path), **mapped, "target": "pair.after.bytes"}))
    assert again == pair


def test_the_composite_is_as_its_readers_describe_it():
    """1056x528 in two tiles of 528, each 512 within 8 pixels of margin."""
    data = subjects200k_rows(1, size=512)[0]["image"]["bytes"]
    assert Image.open(io.BytesIO(data)).size == (1056, 528)
