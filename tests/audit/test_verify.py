"""Every finding `verify` can have: one defect is planted in a sound dataset, and that one is found.

PYTHONPATH=. python -m pytest tests/audit/test_verify.py
"""

import hashlib
import json
import random
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onegen.audit.verify import verify
from onegen.errors import ConfigError
from onegen.sample import IMAGE, PACKED, SELECT
from onegen.shards.column import count
from onegen.shards.dataset import CARD, folder
from onegen.shards.index import BASE, Row, digest, from_table, to_parquet, to_table
from onegen.shards.manifest import inputs_digest
from onegen.shards.plan import plan_name
from onegen.shards.tar import BLOCK, header
from tests.tiny import dataset, make_recipe, manifest_json, run, write_photos

SHARD = 1
COLUMN_TAR = r"columns/tone/000001-\w+\.tar"
COLUMN_INDEX = r"columns/tone/000001-\w+\.parquet"
ECHO_INDEX = r"columns/echo/000001-\w+\.parquet"
IMAGE_INDEX = r"columns/image/000001-\w+\.parquet"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of three images: a column with parts, one without, and the packed view."""
    root = tmp_path_factory.mktemp("sound")
    write_photos(root / "photos", 6)
    stages = [
        {"name": "look", "annotators": {"tests.plugins.tone": {}}},
        {"name": "again", "annotators": {"tests.plugins.echo": {}}},
    ]
    run(make_recipe(root / "photos", stages, samples_per_shard=3), root / "out")
    return root / "out"


@pytest.fixture
def out(sound: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(sound, tmp_path / "out"))


def path_of(out: Path, column: str, extension: str) -> Path:
    """Return the file of the damaged shard that its manifest names."""
    (name,) = (name for name in manifest_json(out, column, SHARD)["files"] if name.endswith(extension))
    return out / folder(column) / name


def change_card(out: Path, **changes: Any) -> None:
    card = json.loads((out / CARD).read_text())
    (out / CARD).write_text(json.dumps(card | changes))


def change_plan_summary(out: Path, **changes: Any) -> None:
    change_card(out, plan=json.loads((out / CARD).read_text())["plan"] | changes)


def change_manifest(out: Path, column: str, **changes: Any) -> None:
    """Change a manifest and bring the card's digest after it, so that no second rule is broken."""
    path = out / folder(column) / f"{SHARD:06d}.json"
    path.write_text(json.dumps(manifest_json(out, column, SHARD) | changes))
    change_card(out, digest=dataset(out).digest())


def forget_file(out: Path, column: str, extension: str) -> None:
    """Leave a file out of its manifest."""
    files = manifest_json(out, column, SHARD)["files"]
    change_manifest(out, column, files={name: file for name, file in files.items() if not name.endswith(extension)})


def republish(out: Path, column: str, extension: str, data: bytes, **changes: Any) -> None:
    """Put other bytes into a file, and say of them in its manifest what is true."""
    path = path_of(out, column, extension)
    path.unlink()
    sha256 = hashlib.sha256(data).hexdigest()
    name = path.name if column == PACKED else f"{SHARD:06d}-{sha256[:8]}{extension}"
    path.with_name(name).write_bytes(data)
    files = manifest_json(out, column, SHARD)["files"]
    del files[path.name]
    files[name] = {"size": len(data), "sha256": sha256}
    change_manifest(out, column, files=files, **changes)


def change_table(out: Path, column: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change an index in what its digest does not cover; its hash follows."""
    table = pq.read_table(path_of(out, column, ".parquet"))
    republish(out, column, ".parquet", to_parquet(change(table)))


def change_rows(out: Path, column: str, change: Callable[[list[Row]], Sequence[Row]]) -> None:
    """Put other rows into an index; counts, digest and hashes follow."""
    table = pq.read_table(path_of(out, column, ".parquet"))
    rows = list(change(from_table(table)))
    fields = {field.name: field.type for field in table.schema if field.name not in BASE}
    data = to_parquet(to_table(rows, fields, "image", table["producer"][0].as_py(), SHARD))
    republish(out, column, ".parquet", data, counts=count(rows).model_dump(), digest=digest(rows))


def change_tar(out: Path, column: str, change: Callable[[bytearray], None]) -> None:
    """Change bytes of a tar; its hash follows."""
    data = bytearray(path_of(out, column, ".tar").read_bytes())
    change(data)
    republish(out, column, ".tar", bytes(data))


def garble(path: Path) -> None:
    """Turn a byte in the middle of a file, which keeps its size."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def garble_part(data: bytearray) -> None:
    data[BLOCK + 20] ^= 0xFF


def garble_header(data: bytearray) -> None:
    data[:BLOCK] = b"\xff" * BLOCK


def cut_short(data: bytearray) -> None:
    del data[BLOCK + 20 :]


def rename_member(data: bytearray) -> None:
    size = int(bytes(data[124:135]), 8)
    data[:BLOCK] = header("another.tone.png", size)


def with_other_members(rows: list[Row]) -> list[Row]:
    return [replace(rows[0], values={**rows[0].values, "members": ["f" * 64]}), *rows[1:]]


def empty_packed_shard(out: Path) -> None:
    """Leave every sample out of a packed shard, and the tar, which would hold none, too."""
    change_rows(out, PACKED, lambda rows: [replace(row, status="filtered", parts=()) for row in rows])
    forget_file(out, PACKED, ".tar")


def with_foreign_key(rows: list[Row]) -> list[Row]:
    return [rows[0], replace(rows[1], key="f" * 20), rows[2]]


def change_settings(out: Path) -> None:
    settings = manifest_json(out, "tone", SHARD)["settings"]
    change_manifest(out, "tone", settings={**settings, "options": {**settings["options"], "gain": 2.0}})


def change_inputs(out: Path, column: str, name: str) -> None:
    """Let a shard be made from something else than what is committed."""
    manifest = manifest_json(out, column, SHARD)
    inputs = {**manifest["inputs"], name: "0" * 64}
    change_manifest(out, column, inputs=inputs, input_digest=inputs_digest(inputs, manifest["where"]))


def change_producer(out: Path, column: str, **changes: Any) -> None:
    change_manifest(out, column, producer=manifest_json(out, column, SHARD)["producer"] | changes)


def change_summary(out: Path, column: str, **changes: Any) -> None:
    columns = json.loads((out / CARD).read_text())["columns"]
    change_card(out, columns={**columns, column: {**columns[column], **changes}})


def change_recipe(out: Path) -> None:
    recipe = json.loads((out / CARD).read_text())["recipe"]
    change_card(out, recipe={**recipe, "samples_per_shard": 4})


def invent_failure(out: Path) -> None:
    """Tell of a failure that no row has."""
    run = manifest_json(out, "tone", SHARD)["run"]
    failure = {"position": 0, "item": "00003.jpg", "reason": "crash", "message": ""}
    change_manifest(out, "tone", run={**run, "failures": [failure]})


def change_plan(out: Path) -> None:
    """Put another size into the plan of a shard."""
    path = out / plan_name(SHARD)
    table = pq.read_table(path)
    plan = table.to_pylist()
    plan[0]["images"][0]["size"] += 1
    pq.write_table(table.from_pylist(plan, schema=table.schema), path)


def write_plan_anew(out: Path) -> None:
    """Write the same rows as other bytes."""
    path = out / plan_name(SHARD)
    pq.write_table(pq.read_table(path), path, compression="none")


def misplace(out: Path, **changes: Any) -> None:
    """Let a manifest be another's by its own word."""
    path = out / folder("tone") / f"{SHARD:06d}.json"
    path.write_text(json.dumps(manifest_json(out, "tone", SHARD) | changes))


DEFECTS: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "plan unreadable": (
        lambda out: (out / "plan/000001.parquet").write_bytes(b"no table"),
        r"plan/000001\.parquet",
        "plan must be readable: .+new OUT",
    ),
    "plan missing": (
        lambda out: (out / "plan/000001.parquet").unlink(),
        r"plan/000001\.parquet",
        "plan must be readable: .+No such file",
    ),
    "plan count": (lambda out: change_plan_summary(out, items=7), "plan", "must hold 7 items, got 6"),
    "manifest unreadable": (
        lambda out: (out / "columns/tone/000001.json").write_text("{"),
        r"columns/tone/000001\.json",
        "is not a manifest of schema version 1",
    ),
    "manifest of the packed view unreadable": (
        lambda out: (out / "shards/000001.json").write_text("{"),
        r"shards/000001\.json",
        "is not a manifest of schema version 1",
    ),
    "manifest missing": (
        lambda out: (out / "columns/tone/000001.json").unlink(),
        r"columns/tone/000001\.json",
        "manifest must be there in a complete dataset",
    ),
    "manifest of the packed view missing": (
        lambda out: (out / "shards/000001.json").unlink(),
        r"shards/000001\.json",
        "manifest must be there in a complete dataset",
    ),
    "index not named": (
        lambda out: forget_file(out, "tone", ".parquet"),
        r"columns/tone/000001\.json",
        "must name an index",
    ),
    "tar not named": (
        lambda out: forget_file(out, "tone", ".tar"),
        r"columns/tone/000001\.json",
        "must name the tar of its parts",
    ),
    "tar of the packed view not named": (
        lambda out: forget_file(out, PACKED, ".tar"),
        r"shards/000001\.json",
        "must name the tar of its parts",
    ),
    "tar of an empty packed shard not named": (
        empty_packed_shard,
        r"shards/000001\.json",
        "must name the tar of its parts",
    ),
    "file missing": (lambda out: path_of(out, "tone", ".tar").unlink(), COLUMN_TAR, "file must be there"),
    "image index missing": (lambda out: path_of(out, IMAGE, ".parquet").unlink(), IMAGE_INDEX, "file must be there"),
    "size": (
        lambda out: path_of(out, "tone", ".tar").write_bytes(b"short"),
        COLUMN_TAR,
        r"file must have \d{4,} bytes, got 5",
    ),
    "size in the packed view": (
        lambda out: path_of(out, PACKED, ".tar").write_bytes(b"short"),
        r"shards/000001\.tar",
        r"file must have \d{4,} bytes, got 5",
    ),
    "index unreadable": (
        lambda out: republish(out, "tone", ".parquet", b"no table"),
        COLUMN_INDEX,
        "index must be readable: ",
    ),
    "index of something else": (
        lambda out: republish(out, "tone", ".parquet", (out / "plan/000001.parquet").read_bytes()),
        COLUMN_INDEX,
        "index must be readable: ",
    ),
    "order of rows": (
        lambda out: change_rows(out, "tone", lambda rows: rows[::-1]),
        COLUMN_INDEX,
        "one row for each of 3 planned items in their order, got 3 rows",
    ),
    "number of rows": (
        lambda out: change_rows(out, "echo", lambda rows: rows[:2]),
        ECHO_INDEX,
        "one row for each of 3 planned items in their order, got 2 rows",
    ),
    "position beyond the plan": (
        lambda out: change_rows(out, "tone", lambda rows: [*rows[:2], replace(rows[2], position=7)]),
        COLUMN_INDEX,
        "one row for each of 3 planned items",
    ),
    "counts": (
        lambda out: change_manifest(out, "tone", counts={"rows": 3, "ok": 2, "failed": 1}),
        COLUMN_INDEX,
        "rows by status must be as the manifest says, .*'failed': 1}, got .*'failed': 0}",
    ),
    "digest": (
        lambda out: change_manifest(out, "tone", digest="0" * 64),
        COLUMN_INDEX,
        "rows must have digest 0{64}, got [1-9a-f]",
    ),
    "key not of its members": (
        lambda out: change_rows(out, IMAGE, with_other_members),
        IMAGE_INDEX,
        r"keys must follow from members and words, got \w{20} at position 0",
    ),
    "foreign key": (
        lambda out: change_rows(out, "echo", with_foreign_key),
        ECHO_INDEX,
        r"keys must be those of the image column, got f{20} at position 1, not \w{20}",
    ),
    "tar cut short": (
        lambda out: change_tar(out, "tone", cut_short),
        COLUMN_TAR,
        r"tar must reach to the end of \w+\.tone\.png, got 532 bytes",
    ),
    "packed tar cut short": (lambda out: change_tar(out, PACKED, cut_short), r"shards/000001\.tar", "must reach to"),
    "card unreadable": (lambda out: (out / CARD).write_text("{"), "dataset.json", "does not read as one"),
    "plan digest": (lambda out: change_plan_summary(out, digest="0" * 64), "plan", "rows must have digest 0{64}"),
    "plan changed": (change_plan, r"plan/000001\.parquet", "must be the one that the image column was made from"),
    "plan written anew": (write_plan_anew, r"columns/image/000001\.json", "must be made from the plan as it is pinned"),
    "number of shards": (lambda out: change_plan_summary(out, shards=3), "plan", "must have 3 shards, got files of 2"),
    "fingerprint": (
        lambda out: change_manifest(out, "tone", fingerprint="0" * 64),
        r"columns/tone/000001\.json",
        "fingerprint must be the digest of the settings",
    ),
    "settings": (change_settings, r"columns/tone/000001\.json", "fingerprint must be the digest of the settings"),
    "where": (
        lambda out: change_manifest(out, "tone", where="image.width > 3"),
        r"columns/tone/000001\.json",
        "input digest must be that of inputs and where",
    ),
    "input digest": (
        lambda out: change_manifest(out, PACKED, input_digest="0" * 64),
        r"shards/000001\.json",
        "input digest must be that of inputs and where",
    ),
    "made from another image column": (
        lambda out: change_inputs(out, "tone", IMAGE),
        r"columns/tone/000001\.json",
        "must be made from the committed image, .+ it is stale",
    ),
    "packed from another column": (
        lambda out: change_inputs(out, PACKED, "tone"),
        r"shards/000001\.json",
        "must be made from the committed tone, .+ it is stale",
    ),
    "made from another plan": (
        lambda out: change_inputs(out, IMAGE, "plan"),
        r"columns/image/000001\.json",
        "must be made from the plan as it is pinned",
    ),
    "selected from another dataset": (
        lambda out: change_inputs(out, SELECT, "dataset"),
        r"columns/select/000001\.json",
        "must be made from what is committed",
    ),
    "column": (
        lambda out: misplace(out, column="echo"),
        r"columns/tone/000001\.json",
        "must be that of tone, shard 1, got echo, shard 1",
    ),
    "shard": (lambda out: misplace(out, shard=0), r"columns/tone/000001\.json", "of tone, shard 1, got tone, shard 0"),
    "kind": (
        lambda out: change_manifest(out, "tone", kind="pair"),
        r"columns/tone/000001\.json",
        "kind must be that of the dataset, image, got pair",
    ),
    "seed rule": (
        lambda out: change_manifest(out, "tone", seed_rule="dice"),
        r"columns/tone/000001\.json",
        "seed rule must be .*, got 'dice'",
    ),
    "version of the producer": (
        lambda out: change_producer(out, "tone", version=7),
        r"columns/tone/000001\.json",
        "producer must have the version of the settings, 1, got 7",
    ),
    "weights of the producer": (
        lambda out: change_producer(out, "tone", weights=[{"name": "a", "revision": "1", "sha256": "f" * 64}]),
        r"columns/tone/000001\.json",
        "producer must have the weights of the settings",
    ),
    "name of the producer": (
        lambda out: change_producer(out, "tone", name="choir"),
        COLUMN_INDEX,
        "producer must be that of the manifest, choir@1, got tone@1",
    ),
    "shard of the rows": (
        lambda out: change_table(
            out, "tone", lambda table: table.set_column(0, "shard", pa.array([7] * table.num_rows, pa.int32()))
        ),
        COLUMN_INDEX,
        "shard must be that of the manifest, 1, got 7",
    ),
    "failures": (invent_failure, r"columns/tone/000001\.json", "failures must be those of the rows, got 'crash'"),
    "file outside its folder": (
        lambda out: misplace(out, files={"../../dataset.json": {"size": 1, "sha256": "f" * 64}}),
        r"columns/tone/000001\.json",
        "plain name",
    ),
    "recipe": (change_recipe, "dataset.json", "its recipe must have digest"),
    "recipe digest": (lambda out: change_card(out, recipe_digest="0" * 64), "dataset.json", "must have digest 0{64}"),
    "name": (lambda out: change_card(out, name="other"), "dataset.json", "its name must be .* 'tiny', got 'other'"),
    "source": (lambda out: change_card(out, source={"folder": "x"}), "dataset.json", "its source must be that"),
    "source root": (lambda out: change_card(out, source_root="/x"), "dataset.json", "where its source lies, /.+got /x"),
    "limit": (lambda out: change_card(out, limit=5), "dataset.json", "no more items than its limit, 5, got 6"),
    "rows of a column in the card": (
        lambda out: change_summary(out, "tone", counts={"rows": 6, "ok": 5, "failed": 1}),
        "dataset.json",
        "tone must have the rows by status .+ got .+'failed': 1}",
    ),
    "producer of a column in the card": (
        lambda out: change_summary(out, "tone", producer="choir@1"),
        "dataset.json",
        "tone must be made by tone@1, got choir@1",
    ),
    "digest of a dataset in the making": (
        lambda out: change_card(out, state="building"),
        "dataset.json",
        "being built must have no digest",
    ),
    "card digest": (lambda out: change_card(out, digest="0" * 64), "dataset.json", "its digest must be that of"),
}

DEFECTS_IN_BYTES: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "hash of a tar": (
        lambda out: garble(path_of(out, "tone", ".tar")),
        COLUMN_TAR,
        r"file must have SHA-256 \w{64}, got \w{64}",
    ),
    "hash in the packed view": (
        lambda out: garble(path_of(out, PACKED, ".tar")),
        r"shards/000001\.tar",
        "file must have SHA-256",
    ),
    "tar unreadable": (lambda out: change_tar(out, "tone", garble_header), COLUMN_TAR, "tar must be readable: "),
    "tar members": (
        lambda out: change_tar(out, "tone", rename_member),
        COLUMN_TAR,
        r"members must be those of the index, got a difference at \w+\.tone\.png",
    ),
    "part": (
        lambda out: change_tar(out, "tone", garble_part),
        COLUMN_TAR,
        r"part \w{20}\.tone\.png must have SHA-256 \w{64}",
    ),
}


@pytest.mark.parametrize("full", [False, True], ids=["quick", "full"])
def test_a_sound_dataset_has_no_finding(sound: Path, full: bool) -> None:
    assert list(verify(dataset(sound), full)) == []


@pytest.mark.parametrize("full", [False, True], ids=["quick", "full"])
@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found_once(out: Path, name: str, full: bool) -> None:
    plant, file, words = DEFECTS[name]
    plant(out)
    (finding,) = verify(dataset(out), full)
    assert re.fullmatch(file, finding.file)
    assert re.search(words, str(finding), re.DOTALL)
    assert finding.way_out.endswith(".")


@pytest.mark.parametrize("name", DEFECTS_IN_BYTES)
def test_a_defect_in_the_bytes_is_found_when_every_byte_is_read(out: Path, name: str) -> None:
    plant, file, words = DEFECTS_IN_BYTES[name]
    plant(out)
    assert list(verify(dataset(out))) == []
    (finding,) = verify(dataset(out), full=True)
    assert re.fullmatch(file, finding.file)
    assert re.search(words, finding.what)
    assert str(finding) == f"{finding.file}: {finding.what}. {finding.way_out}"


def test_defects_of_several_files_are_all_found(out: Path) -> None:
    for column in (IMAGE, "tone", PACKED):
        garble(path_of(out, column, ".tar"))
    (out / "columns/echo/000000.json").unlink()
    files = [finding.file for finding in verify(dataset(out), full=True)]
    assert [name.rsplit("/", 1)[0] for name in files] == ["columns/echo", "columns/image", "columns/tone", "shards"]


def test_what_is_not_made_yet_is_no_defect(out: Path) -> None:
    for name in ("columns/echo/000001.json", "shards/000001.json"):
        (out / name).unlink()
    change_card(out, state="building", digest=None)
    assert list(verify(dataset(out), full=True)) == []


def test_a_folder_without_a_card_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must hold a dataset"):
        list(verify(dataset(tmp_path)))


@pytest.mark.parametrize("full", [False, True], ids=["quick", "full"])
def test_plans_that_changed_places_are_both_named(out: Path, full: bool) -> None:
    plans = [out / plan_name(shard) for shard in (0, 1)]
    first, second = (path.read_bytes() for path in plans)
    plans[0].write_bytes(second)
    plans[1].write_bytes(first)
    assert {finding.file for finding in verify(dataset(out), full)} >= {plan_name(0), plan_name(1)}


def test_what_select_looked_at_through_its_rules_is_checked(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 4)
    stages = [{"name": "look", "annotators": {"tests.plugins.tone": {}}}]
    rules = {"keep": {"lit": "tone.mean >= 0"}}
    run(make_recipe(tmp_path / "photos", stages, samples_per_shard=2, select=rules), tmp_path / "out")
    assert list(verify(dataset(tmp_path / "out"), full=True)) == []
    change_inputs(tmp_path / "out", SELECT, "dataset")
    (finding,) = verify(dataset(tmp_path / "out"))
    assert finding.file == "columns/select/000001.json"


def test_a_column_that_the_card_does_not_name_may_be_stale_and_in_part(out: Path) -> None:
    """It is left from an earlier recipe; its files are checked all the same."""
    shutil.copytree(out / "columns/echo", out / "columns/old")
    for path in (out / "columns/old").glob("*.json"):
        manifest = json.loads(path.read_text())
        inputs = dict.fromkeys(manifest["inputs"], "0" * 64)
        changes = {"column": "old", "inputs": inputs, "input_digest": inputs_digest(inputs, None)}
        path.write_text(json.dumps(manifest | changes))
    (out / "columns/old/000000.json").unlink()
    assert list(verify(dataset(out))) == []
    path_of(out, "old", ".parquet").unlink()
    (finding,) = verify(dataset(out))
    assert finding.what == "file must be there, its manifest names it"


def test_a_damaged_card_does_not_hide_other_damage(out: Path) -> None:
    (out / CARD).write_bytes(b"\xff")
    (out / plan_name(0)).unlink()
    path_of(out, "tone", ".tar").unlink()
    assert [finding.file.split("/")[0] for finding in verify(dataset(out))] == ["dataset.json", "plan", "columns"]


def covered(path: Path) -> int:
    """Return how many bytes of a file something vouches for: all but the run part of a manifest, its last."""
    data = path.read_bytes()
    return data.index(b'"run"') if path.suffix == ".json" and path.name != CARD else len(data)


def flip(path: Path, rng: random.Random) -> str:
    """Turn a bit of a file."""
    data, place, bit = bytearray(path.read_bytes()), rng.randrange(covered(path)), rng.randrange(8)
    data[place] ^= 1 << bit
    path.write_bytes(data)
    return f"bit {bit} of byte {place}"


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where the single values of a JSON record are."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    return [path] if entries is None else [place for key, entry in entries for place in leaves(entry, (*path, key))]


def edit(path: Path, rng: random.Random) -> str:
    """Give a value of a JSON record another value of its type."""
    record = json.loads(path.read_text())
    places = [place for place in leaves(record) if place[0] != "run"]
    *way, last = rng.choice(places)
    owner = record
    for step in way:
        owner = owner[step]
    old = owner[last]
    owner[last] = f"{old}x" if isinstance(old, str) else 1 if old is None else old + 1
    path.write_text(json.dumps(record))
    return f"{'.'.join(map(str, (*way, last)))}: {old!r} -> {owner[last]!r}"


def test_any_change_is_found(out: Path) -> None:
    """In what something vouches for: the run part of manifests is not."""
    rng = random.Random(2)
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.suffix in (".json", ".parquet", ".tar"))
    changes = [(flip, path) for path in files] + [(flip, rng.choice(files)) for _ in range(20)]
    changes += [(edit, rng.choice([path for path in files if path.suffix == ".json"])) for _ in range(24)]
    missed: list[str] = []
    for change, path in changes:
        before = path.read_bytes()
        where = change(path, rng)
        if not list(verify(dataset(out), full=True)):
            missed.append(f"{path.relative_to(out)}: {where}")
        path.write_bytes(before)
    assert len(changes) > 60
    assert missed == []


def test_an_index_of_an_older_build_without_shards_is_sound_and_read(out: Path) -> None:
    before = dataset(out).rows(dataset(out).require_manifest("tone", SHARD))
    change_table(out, "tone", lambda table: table.drop_columns(["shard"]))
    assert list(verify(dataset(out), full=True)) == []
    assert dataset(out).rows(dataset(out).require_manifest("tone", SHARD)) == before
