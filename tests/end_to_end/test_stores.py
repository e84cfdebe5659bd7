"""A dataset on an object store is the dataset of a folder: same digest, same bytes, also after crashes and kills."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onegen.cli.app import app
from onegen.cli.exit_codes import ExitCode
from onegen.errors import ConfigError, Stopped
from onegen.loader.batches import Loader
from onegen.loader.choices import Choices
from onegen.shards.dataset import Card, Dataset
from onegen.storage import open_store
from tests.broken_stores import Crash, CrashingObjects
from tests.bucket import Answer, Request, fetched, served
from tests.tiny import damaged, encoded, make_recipe, packed, picture, run, strays, write_photos

ROOT = Path(__file__).parents[2]
NO_LOCK = [".lease"]
"""What a folder has and a store has not: the file of the OS lock."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """12 photos, one broken and one twice, in two shards; built in a folder."""
    root = tmp_path_factory.mktemp("stores")
    photos = write_photos(root / "photos", 12)
    photos[3].write_text("no image")
    photos[9].write_bytes(encoded(picture(9, (5, 5))))
    shutil.copy(photos[4], photos[11])
    stages = [{"name": "look", "annotators": {"tests.plugins.tone": {}}, "batch_size": 3}]
    recipe = make_recipe(root / "photos", stages, image={"min_side": 8}, samples_per_shard=6)
    return root / "out", recipe, run(recipe, root / "out")


def dataset_on(url: str) -> Card:
    return Dataset(open_store(url)).require_card()


@pytest.mark.parametrize("workers", [0, 2])
def test_folder_and_store_have_one_digest_and_the_same_packed_bytes(made, bucket, tmp_path, workers):
    out, recipe, summary = made
    store = open_store(f"{bucket}/set")
    assert run(recipe, store, workers=workers).digest == summary.digest
    copy = fetched(store, tmp_path / "copy")
    assert packed(copy) == packed(out)
    assert damaged(copy) == []
    assert strays(copy) == NO_LOCK
    # Once more there is nothing to do.
    assert run(recipe, open_store(store.url)).digest == summary.digest


@pytest.mark.slow
def test_ray_s_actors_build_on_a_store(made, bucket, tmp_path):
    """A Ray of its own: its actors find the store by the variables that it was started with."""
    _, recipe, summary = made
    (tmp_path / "recipe.yaml").write_text(recipe.model_dump_json())
    words = ["build", "recipe.yaml", f"{bucket}/set", "--executor", "ray", "--workers", "2"]
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    # Ray's sockets lie below TMPDIR, and their paths must be short.
    environment = {**os.environ, "PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0", "TMPDIR": "/tmp"}
    done = subprocess.run([sys.executable, "-m", "onegen", *words], cwd=tmp_path, env=environment)
    assert done.returncode == ExitCode.FAILURES  # one photo is broken
    assert dataset_on(f"{bucket}/set").digest == summary.digest


def test_a_node_that_does_not_know_the_store_is_named_before_any_work(made, bucket, ray_session):
    """This Ray was started before the store was, and has no variables that say where it is."""
    with pytest.raises(ConfigError, match="every node must be able to do the work") as refused:
        run(made[1], open_store(f"{bucket}/set"), executor="ray", workers=2)
    assert "a-secret-of-someone" not in str(refused.value)
    assert open_store(f"{bucket}/set").names() == []


def test_a_source_on_a_store_makes_the_dataset_of_a_folder(made, bucket, tmp_path):
    out, recipe, summary = made
    photos = open_store(f"{bucket}/photos")
    for path in sorted(Path(recipe.source["folder"]).iterdir()):
        photos.write(path.name, path.read_bytes())
    there = recipe.model_copy(update={"source": {"folder": photos.url}})
    assert run(there, tmp_path / "out").digest == summary.digest
    assert packed(tmp_path / "out") == packed(out)


def crashes_at(made, bucket: str, tmp_path: Path, points: range) -> None:
    out, recipe, summary = made
    for at in points:
        url = f"{bucket}/{at}"
        with pytest.raises(Crash):
            run(recipe, CrashingObjects(url, at))
        store = open_store(url)
        copy = fetched(store, tmp_path / f"{at}-before")
        assert damaged(copy) == [], at
        assert run(recipe, store).digest == summary.digest, at
        copy = fetched(store, tmp_path / f"{at}-after")
        assert packed(copy) == packed(out), at
        assert strays(copy) == NO_LOCK, at


def num_changes(made, bucket: str) -> int:
    whole = CrashingObjects(f"{bucket}/whole")
    run(made[1], whole)
    return len(whole.changes)


def test_a_crash_at_some_changes_loses_nothing(made, bucket, tmp_path):
    crashes_at(made, bucket, tmp_path, range(2, num_changes(made, bucket) + 1, 11))


@pytest.mark.slow
def test_a_crash_at_every_fifth_change_loses_nothing(made, bucket, tmp_path):
    crashes_at(made, bucket, tmp_path, range(1, num_changes(made, bucket) + 1, 5))


def test_a_worker_that_dies_blames_one_sample_as_in_a_folder(made, bucket, tmp_path):
    """There is no journal on a store: the shard is begun again, and ends in the same bytes."""
    _, recipe, _ = made
    photos = tmp_path / "photos"
    shutil.copytree(recipe.source["folder"], photos)
    (photos / "00002.txt").write_text("kill")
    stages = [
        {"name": "look", "annotators": {"tests.plugins.poison": {"cure": str(tmp_path / "cure")}}, "batch_size": 3}
    ]
    poisoned = make_recipe(photos, stages, samples_per_shard=6, limits={"failure_rate": 1})
    direct = run(poisoned, tmp_path / "out", workers=1)
    assert direct.counts["poison"].failed == 1
    assert run(poisoned, open_store(f"{bucket}/set"), workers=1).digest == direct.digest


COMMANDS = (
    (["status"], "12 items in 2 shards"),
    (["verify"], "is sound"),
    (["verify", "--full"], "is sound"),
    (["failures"], "1 failed row"),
    (["show", "--out", "sheet.png"], "sheet.png"),
    (["audit", "--out", "report"], "index.html"),
)


def test_whatever_reads_a_dataset_reads_one_on_a_store(made, bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url = f"{bucket}/set"
    run(made[1], open_store(url))
    asked = [([words[0], url, *words[1:]], expected) for words, expected in COMMANDS]
    asked.append((["query", url, "SELECT count(*) + 1000 AS n FROM samples"], "1012"))
    asked.append((["export", url, "tars", "--to", "webdataset"], "tars"))
    for words, expected in asked:
        result = CliRunner().invoke(app, words)
        # The audit finds that these photos have no licence, and says so by its exit code.
        assert result.exit_code in (0, 1), (words, result.output)
        assert expected in result.output, (words, result.output)
        assert "Traceback" not in result.output


def test_bad_words_about_stores_are_one_line(made, bucket, monkeypatch, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(made[1].model_dump_json())
    asked = (
        (["build", str(recipe), "s3://no-such-bucket/set", "--workers", "0"], "there is no bucket 'no-such-bucket'"),
        (["status", f"{bucket}/nothing"], "has no dataset.json"),
        (["status", "s3://"], "must name a bucket"),
    )
    for words, expected in asked:
        result = CliRunner().invoke(app, words)
        assert result.exit_code != 0
        assert expected in result.output
        assert "Traceback" not in result.output
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("onegen.storage.objects.RETRIES", {"max_retries": 0})
    result = CliRunner().invoke(app, ["status", "s3://one-gen/set"])
    assert "looked for AWS_ACCESS_KEY_ID" in " ".join(result.output.split())


def test_the_loader_gives_the_same_examples(made, bucket):
    out, recipe, _ = made
    url = f"{bucket}/set"
    run(recipe, open_store(url))
    choices = Choices(resolution=64)

    def prompts(place: str) -> list[tuple[str, str, bytes]]:
        with Loader(place, {"canny2image": 1}, seed=0, tokens=1024, bins=2, choices=choices) as loader:
            return [(e.task, e.prompt, e.views[0].tobytes()) for bins in loader for bin_ in bins for e in bin_]

    assert prompts(url) == prompts(str(out))
    assert len(prompts(url)) == 9


def test_a_store_that_answers_old_listings_costs_work_and_no_bytes(made, bucket, object_server, tmp_path, monkeypatch):
    """Every listing is answered as it was when the same was asked before: a moment ago, or before this build."""
    out, recipe, summary = made
    run(recipe, open_store(f"{bucket}/set"), only=("image",))
    before: dict[str, Answer] = {}

    def answer(request: Request) -> Answer:
        now = request.onward(object_server)
        if request.method != "GET" or "list-type=2" not in request.path:
            return now
        old, before[request.path] = before.get(request.path, now), now
        return old

    with served(answer) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        said = []
        for _ in range(20):
            try:
                ended = run(recipe, open_store(f"{bucket}/set"))
            except Stopped as stopped:
                said.append(str(stopped))
            else:
                break
        assert said
        assert all("Run the same command again." in words for words in said)
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_server)
    assert ended.digest == summary.digest
    store = open_store(f"{bucket}/set")
    assert run(recipe, store).digest == summary.digest
    copy = fetched(store, tmp_path / "copy")
    assert packed(copy) == packed(out)
    assert damaged(copy) == []
    assert strays(copy) == NO_LOCK
