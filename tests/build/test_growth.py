"""Growth and rights: what --extend adds, what a takedown leaves out, and that a purge leaves nothing of it."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from onegen.audit.tables import open_tables
from onegen.audit.verify import verify
from onegen.build.purge import purge
from onegen.build.repair import repair
from onegen.build.takedown import read_list, take_down
from onegen.errors import ConfigError, LeaseHeld
from onegen.executor.contract import Retry
from onegen.shards.index import canonical_row
from onegen.shards.plan import plan_shards, read_plan
from onegen.shards.takedowns import Entry, append_takedowns, read_takedowns, version_of
from onegen.storage.lease import lease
from tests.end_to_end import test_identities as identities
from tests.exports import write_rows
from tests.tiny import Ears, dataset, encoded, make_recipe, packed, picture, rows, run, statuses, write_photos

STAGES: list[dict[str, Any]] = [
    {"name": "look", "annotators": {"tests.plugins.tone": {}}},
    {"name": "again", "annotators": {"tests.plugins.echo": {}}, "where": "tone.mean > 1"},
]


def recipe(root: Path, **changes: Any):
    return make_recipe(root / "photos", STAGES, **{"samples_per_shard": 4, **changes})


def built(root: Path, count: int = 6, **changes: Any) -> Path:
    write_photos(root / "photos", count, {2: "a caption nobody else has"})
    run(recipe(root, **changes), root / "out")
    return root / "out"


def files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def add_photos(root: Path, first: int, count: int) -> None:
    for number in range(first, first + count):
        (root / "photos" / f"{number:05d}.png").write_bytes(encoded(picture(number)))


def sound(out: Path) -> None:
    assert [str(finding) for finding in verify(dataset(out), full=True)] == []


def test_new_and_changed_items_become_new_shards_and_old_ones_stay(tmp_path):
    out = built(tmp_path)
    before = files(out)
    add_photos(tmp_path, 6, 2)
    (tmp_path / "photos/00001.jpg").write_bytes(encoded(picture(77), ".jpg"))
    (tmp_path / "photos/00003.jpg").unlink()
    ears = Ears()
    summary = run(recipe(tmp_path), out, ears, extend=True)
    said = "\n".join(ears.notes)
    assert "2 new (00006.png, 00007.png)" in said
    assert "1 changed (00001.jpg)" in said
    assert "1 gone (00003.jpg)" in said
    assert [item.item for item in read_plan(dataset(out).store, 2)] == ["00001.jpg", "00006.png", "00007.png"]
    after = files(out)
    kept = [name for name in before if name.startswith(("plan/", "columns/image/", "columns/tone/", "shards/"))]
    assert kept
    assert all(after[name] == before[name] for name in kept), "old shards are not touched"
    assert summary.digest is not None
    assert statuses(out, "image") == ["ok"] * 9
    sound(out)
    again = Ears()
    run(recipe(tmp_path), out, again, extend=True)
    assert any("nothing to extend by" in note for note in again.notes)
    assert plan_shards(dataset(out).store) == [0, 1, 2]


def test_a_later_build_names_what_extend_would_add(tmp_path):
    out = built(tmp_path)
    add_photos(tmp_path, 6, 5)
    ears = Ears()
    run(recipe(tmp_path), out, ears)
    assert any("5 new (00006.png, 00007.png, 00008.png, ...)" in note and "--extend" in note for note in ears.notes)
    assert plan_shards(dataset(out).store) == [0, 1]


def test_extend_lifts_or_raises_the_limit(tmp_path):
    write_photos(tmp_path / "photos", 9)
    out = tmp_path / "out"
    run(recipe(tmp_path), out, limit=2)
    with pytest.raises(ConfigError, match="at least the 2 items"):
        run(recipe(tmp_path), out, limit=1, extend=True)
    ears = Ears()
    run(recipe(tmp_path), out, ears, limit=5, extend=True)
    assert dataset(out).require_card().limit == 5
    assert any("--limit 5 leaves 4 item(s) out" in note for note in ears.notes)
    assert len(rows(out, "image")) == 5
    run(recipe(tmp_path), out, extend=True)
    assert dataset(out).require_card().limit is None
    assert statuses(out, "select") == ["ok"] * 9
    sound(out)


def test_an_extension_that_was_not_pinned_is_replaced(tmp_path):
    out = built(tmp_path)
    stray = out / "plan/000002.parquet"
    stray.write_bytes((out / "plan/000001.parquet").read_bytes())
    add_photos(tmp_path, 6, 1)
    run(recipe(tmp_path), out)
    assert not stray.exists()
    stray.write_bytes((out / "plan/000001.parquet").read_bytes())
    run(recipe(tmp_path), out, extend=True)
    assert [item.item for item in read_plan(dataset(out).store, 2)] == ["00006.png"]
    sound(out)


def test_old_shards_come_before_new_ones_where_pictures_repeat(tmp_path):
    out = built(tmp_path)
    (tmp_path / "photos/00000a.png").write_bytes((tmp_path / "photos/00004.png").read_bytes())
    run(recipe(tmp_path), out, extend=True)
    assert statuses(out, "select") == ["ok"] * 6 + ["filtered duplicate"]


def entry_of(out: Path, by: str, position: int) -> Entry:
    row = rows(out, "image")[position]
    return {
        "key": ("key", str(row.key)),
        "digest": ("digest", row.values["sha256"]),
        "uri": ("uri", row.values["uri"]),
    }[by]  # type: ignore[return-value]


@pytest.mark.parametrize("by", ["key", "digest", "uri"])
def test_purge_leaves_no_byte_and_the_digest_of_a_dataset_that_never_had_it(tmp_path, by):
    out = built(tmp_path, pack={"columns": ["image", "tone", "echo"]})
    (out / "report").mkdir()
    (out / "report/index.html").write_bytes((tmp_path / "photos/00002.png").read_bytes())
    data, caption = (tmp_path / "photos/00002.png").read_bytes(), b"a caption nobody else has"
    assert any(data in found for found in files(out).values())
    key = str(rows(out, "image")[2].key)
    done = take_down(dataset(out), [entry_of(out, by, 2)])
    assert (done.added, done.rows, done.unknown) == (1, 1, ())
    purged = purge(dataset(out))
    assert (purged.samples, purged.left) == (1, ())
    for name, found in files(out).items():
        assert data not in found, name
        assert data[40:140] not in found, name
        assert caption not in found, name
        assert by == "key" or name.startswith("takedowns/") or key.encode() not in found, name
    assert statuses(out, "image")[2] == "filtered takedown"
    assert statuses(out, "tone")[2] == "skipped image:filtered"
    assert rows(out, "image")[2].key is None
    assert purged.digest == dataset(out).require_card().digest
    sound(out)
    before = files(out)
    run(recipe(tmp_path, pack={"columns": ["image", "tone", "echo"]}), out)
    assert {n: f for n, f in files(out).items() if n.startswith(("columns", "shards"))} == {
        n: f for n, f in before.items() if n.startswith(("columns", "shards"))
    }, "nothing is left for a build to do"
    direct = tmp_path / "direct"
    append_takedowns(dataset(direct).store, read_takedowns(dataset(out).store).entries)
    assert run(recipe(tmp_path, pack={"columns": ["image", "tone", "echo"]}), direct).digest == purged.digest


def test_a_takedown_is_idempotent_and_tells_what_it_does_not_know(tmp_path):
    out = built(tmp_path)
    known = entry_of(out, "key", 0)
    unknown: Entry = ("key", "0" * 20)
    first = take_down(dataset(out), [known, unknown])
    assert (first.added, first.known, first.unknown) == (2, 0, (unknown,))
    listed = files(out / "takedowns")
    second = take_down(dataset(out), [unknown, known])
    assert (second.added, second.known) == (0, 2)
    assert files(out / "takedowns") == listed


def test_what_is_taken_down_before_it_comes_is_never_stored(tmp_path):
    out = built(tmp_path)
    data = encoded(picture(6))
    take_down(dataset(out), [("digest", hashlib.sha256(data).hexdigest())])
    add_photos(tmp_path, 6, 2)
    run(recipe(tmp_path), out, extend=True)
    assert statuses(out, "image")[6:] == ["filtered takedown", "ok"]
    assert not any(data in found for found in files(out).values())
    sound(out)


def test_a_purge_gives_back_what_the_taken_down_picture_pushed_out(tmp_path):
    write_photos(tmp_path / "photos", 4)
    near = picture(0).copy()
    near[0, 0] = 255 - near[0, 0]
    (tmp_path / "photos/00009.png").write_bytes(encoded(near))
    rules = {"select": {"near_duplicates": {"distance": 4}}}
    out = tmp_path / "out"
    run(recipe(tmp_path, **rules), out)
    assert statuses(out, "select")[4] == "filtered near_duplicate"
    take_down(dataset(out), [entry_of(out, "key", 0)])
    purged = purge(dataset(out))
    assert purged.digest is None
    assert "tone" in purged.left
    assert dataset(out).require_card().state == "building"
    digest = run(recipe(tmp_path, **rules), out).digest
    assert statuses(out, "tone")[4] == "ok"
    direct = tmp_path / "direct"
    append_takedowns(dataset(direct).store, read_takedowns(dataset(out).store).entries)
    assert run(recipe(tmp_path, **rules), direct).digest == digest


def test_a_purge_waits_for_nobody_and_refuses_beside_a_build(tmp_path):
    out = built(tmp_path)
    with lease(dataset(out).store):
        take_down(dataset(out), [entry_of(out, "key", 0)])
        with pytest.raises(LeaseHeld):
            purge(dataset(out))
    assert purge(dataset(out)).samples == 1
    assert purge(dataset(out)).samples == 0


def test_columns_that_the_recipe_no_longer_makes_are_purged_too(tmp_path):
    out = built(tmp_path)
    run(make_recipe(tmp_path / "photos", STAGES[:1], samples_per_shard=4), out)
    assert statuses(out, "echo")[1] == "ok"
    take_down(dataset(out), [entry_of(out, "key", 1)])
    purge(dataset(out))
    assert rows(out, "echo")[1].key is None


def test_a_retry_or_a_recompute_brings_nothing_back(tmp_path):
    out = built(tmp_path)
    take_down(dataset(out), [entry_of(out, "key", 1)])
    purged = purge(dataset(out)).digest
    assert run(recipe(tmp_path), out, recompute=("image",)).digest == purged
    assert run(recipe(tmp_path), out, retry=Retry()).digest == purged


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key 123\n", "line 1: a key to take down must be 20 hex digits"),
        ("# fine\nkeys 3f\n", "in line 2"),
        ("subject\n", "line 1: a subject to take down must be printable"),
        (f"digest {'0' * 63}\n", "64 hex digits"),
    ],
)
def test_a_list_that_is_none_takes_nothing_down(text, message):
    with pytest.raises(ConfigError, match=message):
        read_list(text, "--file list.txt")


def test_a_list_names_what_and_its_value():
    text = f"# who asked\nkey {'a' * 20}\nuri: a b.jpg\n\nsubject Ada Lovelace\n"
    assert read_list(text, "list") == [("key", "a" * 20), ("uri", "a b.jpg"), ("subject", "Ada Lovelace")]


def test_a_list_of_bare_keys_is_one_too():
    assert read_list(f"{'a' * 20}\n{'b1' * 10}\n", "list") == [("key", "a" * 20), ("key", "b1" * 10)]
    with pytest.raises(ConfigError, match="in line 1"):
        read_list(f"{'a' * 19}\n", "list")


def test_a_damaged_list_stops_everybody(tmp_path):
    out = built(tmp_path)
    take_down(dataset(out), [entry_of(out, "key", 1)])
    (path,) = (out / "takedowns").iterdir()
    path.write_bytes(b"no parquet")
    with pytest.raises(ConfigError, match="nobody knows what to leave out"):
        run(recipe(tmp_path), out)


def test_the_version_is_of_both(tmp_path):
    out = built(tmp_path)
    digest = dataset(out).require_card().digest
    takedowns = read_takedowns(dataset(out).store)
    assert version_of(digest, takedowns) == digest
    take_down(dataset(out), [entry_of(out, "key", 1)])
    takedowns = read_takedowns(dataset(out).store)
    assert version_of(digest, takedowns) == f"{digest}+{takedowns.digest}"


def people(root: Path, **changes: Any):
    identities.write(root / "people", {"ada": 5, "bob": 5, "cyd": 5})
    return identities.recipe(root / "people", identities.TONE, **changes)


def member(out: Path, position: int, image: int) -> str:
    return str(rows(out, "image")[position].values["members"][image])


def direct_digest(root: Path, recipe_: Any, out: Path) -> str | None:
    """Return the digest of a dataset that is built at once, with the same takedowns from the start."""
    append_takedowns(dataset(root / "direct").store, read_takedowns(dataset(out).store).entries)
    return run(recipe_, root / "direct").digest


def lines_of(out: Path, column: str) -> list[bytes]:
    return [canonical_row(row) for row in rows(out, column)]


@pytest.mark.parametrize("by", ["digest", "key", "uri"])
def test_a_set_goes_on_without_a_picture_that_was_taken_down(tmp_path, by):
    recipe_, out = people(tmp_path), tmp_path / "out"
    run(recipe_, out)
    digest = member(out, 1, 2)
    value = {"digest": digest, "key": digest[:20], "uri": "bob/2.png"}[by]
    assert take_down(dataset(out), [(by, value)]).unknown == ()
    with open_tables(dataset(out)) as tables:
        assert tables.rows("SELECT count(*) FROM image WHERE status = 'ok'") == [(2,)], "until it is made anew"
    purged = purge(dataset(out))
    assert (purged.samples, purged.sets, purged.digest) == (0, 1, None)
    data = (tmp_path / "people/bob/2.png").read_bytes()
    assert [name for name, found in files(out).items() if data in found or b"bob in photo 2" in found] == []
    summary = run(recipe_, out)
    assert identities.lost(out, "image")[1] == [(2, "filtered", "takedown")]
    assert len(rows(out, "image")[1].values["members"]) == 4
    assert statuses(out, "tone") == ["ok"] * 3
    sound(out)
    assert direct_digest(tmp_path, recipe_, out) == summary.digest
    for column in ("image", "select", "tone"):
        assert lines_of(out, column) == lines_of(tmp_path / "direct", column)
    assert packed(out).keys() == packed(tmp_path / "direct").keys()
    assert [value for name, value in packed(out).items() if name.endswith(".tar")] == [
        value for name, value in packed(tmp_path / "direct").items() if name.endswith(".tar")
    ]


@pytest.mark.parametrize(
    ("by", "changes"),
    [("subject", {}), ("key", {}), ("digest", {"incomplete": "fail"}), ("uri", {"incomplete": "fail"})],
)
def test_a_whole_set_is_taken_down_by_subject_by_key_and_where_it_may_lose_none(tmp_path, by, changes):
    recipe_, out = people(tmp_path, **changes), tmp_path / "out"
    run(recipe_, out)
    row = rows(out, "image")[1]
    values = {"subject": "bob", "key": str(row.key), "digest": member(out, 1, 0), "uri": "bob/3.png"}
    take_down(dataset(out), [(by, values[by])])  # type: ignore[list-item]
    purged = purge(dataset(out))
    assert (purged.samples, purged.sets, purged.left) == (1, 0, ())
    assert statuses(out, "image")[1] == "filtered takedown"
    data = [(tmp_path / f"people/bob/{n}.png").read_bytes() for n in range(5)]
    assert [name for name, found in files(out).items() if any(one in found for one in data)] == []
    sound(out)
    assert direct_digest(tmp_path, recipe_, out) == purged.digest
    assert run(recipe_, out).digest == purged.digest


def test_the_key_of_a_set_is_taken_down_for_good_whatever_it_is_called_later(tmp_path):
    recipe_, out = people(tmp_path), tmp_path / "out"
    broken = tmp_path / "people/bob/4.png"
    data = broken.read_bytes()
    broken.write_bytes(b"none")
    run(recipe_, out)
    take_down(dataset(out), [("key", str(rows(out, "image")[1].key))])
    broken.write_bytes(data)
    run(recipe_, out, retry=Retry())
    assert statuses(out, "image")[1] == "filtered takedown"


def test_a_subject_who_left_is_not_ingested_when_the_dataset_grows(tmp_path):
    recipe_, out = people(tmp_path), tmp_path / "out"
    run(recipe_, out)
    assert take_down(dataset(out), [("subject", "dee")]).unknown == (("subject", "dee"),)
    identities.write(tmp_path / "people", {"dee": 4, "eve": 4})
    run(recipe_, out, extend=True)
    assert statuses(out, "image") == ["ok", "ok", "ok", "filtered takedown", "ok"]
    sound(out)


@pytest.mark.parametrize("by", ["digest", "uri"])
def test_a_pair_is_taken_down_with_either_picture(tmp_path, by):
    table = [{"a": encoded(picture(2 * n)), "b": encoded(picture(2 * n + 1)), "say": f"Turn {n}."} for n in range(3)]
    write_rows(tmp_path / "pairs.parquet", table)
    source = {"pairs": str(tmp_path / "pairs.parquet"), "target": "a", "source": "b", "instruction": "say"}
    recipe_, out = make_recipe(tmp_path, STAGES[:1], kind="pair", source=source), tmp_path / "out"
    run(recipe_, out)
    row = rows(out, "image")[1]
    value = row.values["members"][1] if by == "digest" else row.values["item"]
    assert take_down(dataset(out), [(by, value)]).rows == 1  # type: ignore[list-item]
    purged = purge(dataset(out))
    assert purged.samples == 1
    found = files(out)
    assert [
        n for n, data in found.items() if table[1]["a"] in data or table[1]["b"] in data or b"Turn 1." in data
    ] == []
    assert direct_digest(tmp_path, recipe_, out) == purged.digest
    sound(out)


def test_a_packed_view_alone_cannot_be_purged_and_says_so(tmp_path):
    out = built(tmp_path)
    take_down(dataset(out), [entry_of(out, "key", 0)])
    shutil.rmtree(out / "columns")
    with pytest.raises(ConfigError, match="must have its columns to be purged"):
        purge(dataset(out))


def test_a_repair_keeps_what_the_card_says_of_a_purge(tmp_path):
    out = built(tmp_path)
    take_down(dataset(out), [entry_of(out, "key", 0)])
    purge(dataset(out))
    assert list(repair(dataset(out), recipe(tmp_path))) == []
