"""The command line as a shell sees it: exit codes, what is message on which stream, and that options arrive.

PYTHONPATH=. python -m pytest tests/cli/test_app.py
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

import onegen
from onegen.build.build import Summary
from onegen.build.work import Options
from onegen.cli.app import EXTRAS, app
from onegen.config.recipe import Recipe
from onegen.errors import Breaker, ConfigError, LeaseHeld, SampleError, Stopped, Unavailable
from onegen.executor.contract import Retry
from onegen.storage.lease import lease
from onegen.storage.local import LocalStore
from tests.tiny import dataset, encoded, make_recipe, picture, rows, run, statuses, write_photos

STAGES = [{"name": "look", "annotators": {"tests.plugins.tone": {}}}]


def invoke(*arguments: object) -> Result:
    """Run a command; what it raises goes on."""
    return CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)


def write_recipe(folder: Path, recipe: Recipe) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
    return path


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos", 3)
    return write_recipe(tmp_path, make_recipe(tmp_path / "photos", STAGES))


@pytest.fixture
def out(tmp_path: Path, recipe_file: Path) -> Path:
    """A dataset of three images."""
    run(make_recipe(tmp_path / "photos", STAGES), tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def poisoned(tmp_path: Path) -> Path:
    """The recipe of three images, one of which fails until there is a file `cure`; none may fail."""
    write_photos(tmp_path / "photos", 3, {1: "sample"})
    stages = [{"name": "risk", "annotators": {"tests.plugins.poison": {"cure": str(tmp_path / "cure")}}}]
    return write_recipe(tmp_path, make_recipe(tmp_path / "photos", stages, limits={"failure_rate": 0}))


@pytest.fixture
def status_raises(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make `onegen status` end with an exception."""

    def let(error: BaseException) -> None:
        def read_status(_: object) -> None:
            raise error

        monkeypatch.setattr("onegen.audit.status.read_status", read_status)

    return let


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("width must be even, got 3. Add 1."), 2, "error: width must be even, got 3. Add 1.\n"),
        (Stopped("the disk is full"), 3, "stopped: the disk is full\n"),
        (Breaker("most rows failed"), 3, "stopped: most rows failed\n"),
        (
            OSError(5, "Input/output error"),
            2,
            "error: {dataset} must be a dataset that can be read, got [Errno 5] Input/output error. "
            "Check it and try again.\n",
        ),
        (LeaseHeld("it is being built"), 3, "stopped: it is being built\n"),
        (Unavailable("the server is away"), 3, "stopped: the server is away\n"),
        *(
            (
                ModuleNotFoundError(f"No module named {name!r}", name=name),
                2,
                f"error: this needs the package {name}. Install it with: pip install 'onegen[{extra}]'\n",
            )
            for name, extra in EXTRAS.items()
        ),
    ],
    ids=lambda value: getattr(value, "name", None) or type(value).__name__,
)
def test_a_known_way_to_end_is_a_message_and_a_code(
    tmp_path: Path, status_raises: Callable[[BaseException], None], error: Exception, code: int, message: str
) -> None:
    status_raises(error)
    result = invoke("status", tmp_path)
    assert (result.exit_code, result.stderr, result.stdout) == (code, message.format(dataset=tmp_path), "")


def test_torch_is_among_the_packages_that_may_be_missing() -> None:
    assert {"torch", "diffusers", "transformers"} <= set(EXTRAS)


def test_ctrl_c_says_how_to_go_on(
    tmp_path: Path, status_raises: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    status_raises(KeyboardInterrupt())
    monkeypatch.setattr(sys, "argv", ["/somewhere/onegen", "status", "my data"])
    result = invoke("status", tmp_path)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "\nstopped; committed shards are kept. Go on with:\n  onegen status 'my data'\n"


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'onegen.nothing'", name="onegen.nothing"),
        ImportError("cannot import name", name="torch"),
        ValueError("a bug"),
        SampleError("lost", "a sample's fault, outside a build"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_anything_else_is_a_bug_with_its_traceback(
    tmp_path: Path, status_raises: Callable[[BaseException], None], error: Exception
) -> None:
    status_raises(error)
    with pytest.raises(type(error)) as caught:
        invoke("status", tmp_path)
    assert caught.value is error


def test_every_verb_is_listed_and_without_one_the_list_is_shown() -> None:
    listed = invoke("--help").output
    for verb in ("build", "retry", "status", "failures", "verify", "show", "sample", "models"):
        assert re.search(rf"^\W*{verb}\s", listed, re.MULTILINE), verb
    assert invoke().output.strip() == listed.strip()


def test_the_version_is_that_of_the_package() -> None:
    for words in (["--version"], ["build", "--help"]):
        assert invoke(*words).exit_code == 0
    assert invoke("--version").stdout == f"onegen {onegen.__version__}\n"
    program = [sys.executable, "-m", "onegen", "--version"]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout == f"onegen {onegen.__version__}\n"


@pytest.mark.parametrize(
    "words",
    [(), *((verb,) for verb in ("build", "retry", "status", "failures", "verify", "show", "sample", "models"))],
    ids=str,
)
def test_flags_are_shown_as_what_is_typed(words: tuple[str, ...]) -> None:
    text = invoke(*words, "--help").output
    assert "--help" in text
    assert "bool" not in text.lower()


def test_types_are_told_to_who_imports_the_package() -> None:
    assert (resources.files("onegen") / "py.typed").is_file()


def test_a_wrong_option_is_wrong_usage(out: Path) -> None:
    result = invoke("verify", out, "--ful")
    assert result.exit_code == 2
    assert "--full" in result.stderr


def test_a_build_ends_well(recipe_file: Path, tmp_path: Path) -> None:
    result = invoke("build", recipe_file, tmp_path / "new", "--workers", 0)
    assert result.exit_code == 0
    assert f"digest {dataset(tmp_path / 'new').digest()}\n" in result.stdout
    assert "planned 3 items in 1 shards\n" in result.stderr
    assert statuses(tmp_path / "new", "tone") == ["ok", "ok", "ok"]


def test_a_build_with_more_failures_than_allowed_says_so(poisoned: Path, tmp_path: Path) -> None:
    result = invoke("build", poisoned, tmp_path / "new", "--workers", 0)
    assert result.exit_code == 1
    assert "poison: 33.3% of rows failed, limits.failure_rate allows 0.0%\n" in result.stdout


def test_a_retry_mends_what_its_reason_names(poisoned: Path, tmp_path: Path) -> None:
    out = tmp_path / "new"
    assert invoke("build", poisoned, out, "--workers", 0).exit_code == 1
    (tmp_path / "cure").touch()
    assert invoke("retry", out, "--reason", "crash*", "--workers", 0, "--trust", "tests").exit_code == 1
    assert statuses(out, "poison") == ["ok", "failed bad_sample", "ok"]
    assert (
        invoke(
            "retry", out, "--reason", "bad_*", "--stage", "risk", "--workers", 0, "--trust", "tests.plugins"
        ).exit_code
        == 0
    )
    assert statuses(out, "poison") == ["ok", "ok", "ok"]


def test_a_retry_imports_what_the_dataset_names_only_where_it_is_trusted(
    out: Path, given: list[Options], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> object:
        raise AssertionError(f"{name} must not be imported")

    with monkeypatch.context() as patch:
        patch.setattr("onegen.config.registry.importlib.import_module", refuse)
        for trusted in ([], ["--trust", "test"], ["--trust", "tests.plugins.ton"], ["--trust", "onegen"]):
            result = invoke("retry", out, *trusted)
            assert result.exit_code == 2
            assert "add --trust tests.plugins.tone" in result.stderr
    assert given == []
    assert invoke("retry", out, "--trust", "tests.plugins.tone").exit_code == 0


@pytest.mark.parametrize(
    "planted",
    [
        {"source": {"planted.module": "x"}},
        {"source": {"folder": "x", "bring": {"map": {"use": "planted.module", "from": "a.png"}}}},
        {"stages": [{"name": "look", "annotators": {"map": {"use": "planted.module"}}}]},
    ],
)
def test_whatever_way_a_dataset_names_a_module_it_must_be_trusted(
    out: Path, planted: dict[str, Any], given: list[Options]
) -> None:
    card = json.loads((out / "dataset.json").read_text())
    card["recipe"] = {**card["recipe"], "stages": [], **planted}
    (out / "dataset.json").write_text(json.dumps(card))
    result = invoke("retry", out)
    assert (result.exit_code, given) == (2, [])
    assert "add --trust planted.module" in result.stderr


def test_a_retry_sends_pictures_only_to_an_address_that_is_trusted(out: Path, given: list[Options]) -> None:
    card = json.loads((out / "dataset.json").read_text())
    served = {"backend": "server", "model": "see", "url": "http://stranger.example/v1"}
    card["recipe"] = {**card["recipe"], "stages": [{"name": "words", "annotators": {"caption": served}}]}
    (out / "dataset.json").write_text(json.dumps(card))
    for trusted in ([], ["--trust", "http://stranger.example"], ["--trust", "onegen"]):
        result = invoke("retry", out, *trusted)
        assert (result.exit_code, given) == (2, [])
        assert "add --trust http://stranger.example/v1" in result.stderr
    invoke("retry", out, "--trust", served["url"])
    assert len(given) == 1


@pytest.mark.parametrize("words", [("status",), ("failures",), ("verify",), ("show", "--out", "sheet.png")])
def test_other_verbs_import_nothing_that_a_dataset_names(
    out: Path, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = json.loads((out / "dataset.json").read_text())
    card["recipe"]["stages"][0]["annotators"] = {"planted.module": {}}
    (out / "dataset.json").write_text(json.dumps(card))
    (tmp_path / "planted").mkdir()
    (tmp_path / "planted/__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    invoke(words[0], out, *words[1:])
    assert "planted" not in sys.modules


def test_a_retry_means_the_folder_the_build_was_started_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative sources too: what they mean is not a matter of where one stands."""
    write_photos(tmp_path / "photos", 3)
    (tmp_path / "photos/00001.jpg").write_bytes(b"torn")
    recipe = make_recipe(Path("photos"), [], limits={"failure_rate": 1.0})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    monkeypatch.chdir(tmp_path)
    assert invoke("build", "recipe.yaml", "new", "--workers", 0).exit_code == 0
    (tmp_path / "photos/00001.jpg").write_bytes(encoded(picture(1)))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = invoke("retry", "../new", "--workers", 0)
    assert (result.exit_code, result.stderr.count("error")) == (0, 0)
    assert statuses(tmp_path / "new", "image") == ["ok"] * 3
    assert Path.cwd() == tmp_path / "elsewhere"


def test_a_second_driver_is_turned_away(recipe_file: Path, tmp_path: Path) -> None:
    with lease(LocalStore(str(tmp_path / "new"))):
        result = invoke("build", recipe_file, tmp_path / "new", "--workers", 0)
    assert result.exit_code == 3
    assert result.stderr.startswith("stopped: dataset must have one driver at a time")


def test_a_wrong_recipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: x\nsauce: {folder: photos}\n")
    result = invoke("build", tmp_path / "recipe.yaml", tmp_path / "new")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert "did you mean 'source'?" in result.stderr
    assert not (tmp_path / "new").exists()


def test_a_dry_run_writes_nothing(recipe_file: Path, tmp_path: Path) -> None:
    result = invoke("build", recipe_file, tmp_path / "new", "--dry-run")
    assert result.exit_code == 0
    assert "plan: 3 items from" in result.stdout
    assert not (tmp_path / "new").exists()


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    """Record the options of each build, and build nothing."""
    options: list[Options] = []

    def build(_recipe: object, _store: object, asked: Options, _listener: object) -> Summary:
        options.append(asked)
        return Summary("", {}, None)

    monkeypatch.setattr("onegen.build.build.build", build)
    return options


def test_every_option_of_build_arrives(recipe_file: Path, tmp_path: Path, given: list[Options]) -> None:
    words = "--executor ray --address host:1 --workers 3 --only a --only b --recompute c --recompute d --limit 5"
    assert invoke("build", recipe_file, tmp_path / "new").exit_code == 0
    assert invoke("build", recipe_file, tmp_path / "new", *words.split()).exit_code == 0
    assert given == [Options(), Options("ray", "host:1", 3, ("a", "b"), ("c", "d"), limit=5)]


def test_who_names_a_cluster_means_ray(recipe_file: Path, tmp_path: Path, given: list[Options]) -> None:
    assert invoke("build", recipe_file, tmp_path / "new", "--address", "host:1").exit_code == 0
    assert given == [Options("ray", "host:1")]


def test_a_cluster_for_local_workers_is_refused(recipe_file: Path, tmp_path: Path) -> None:
    result = invoke("build", recipe_file, tmp_path / "new", "--executor", "local", "--address", "host:1")
    assert result.exit_code == 2
    assert "--address must stand with --executor ray" in result.stderr


def test_every_option_of_retry_arrives(out: Path, given: list[Options]) -> None:
    words = "--executor ray --address host:1 --workers 3 --stage look --reason crash*"
    assert invoke("retry", out, "--trust", "tests").exit_code == 0
    assert invoke("retry", out, "--trust", "tests", *words.split()).exit_code == 0
    every = Options(retry=Retry("*"))
    assert given == [every, Options("ray", "host:1", 3, retry=Retry("crash*"), retry_stage="look")]


def test_status_shows_what_is_there(out: Path, tmp_path: Path) -> None:
    result = invoke("status", out)
    assert result.exit_code == 0
    assert result.stdout.startswith("tiny  3 items in 1 shards from ")
    assert invoke("status", tmp_path / "nothing").exit_code == 2


def test_verify_names_each_defect_and_exits_1(out: Path) -> None:
    sound = invoke("verify", out, "--full")
    version = json.loads((out / "dataset.json").read_text())["digest"]
    assert (sound.exit_code, sound.stdout) == (0, f"version {version}\n{out} is sound\n")
    assert invoke("verify", out).stdout.splitlines()[-1] == f"{out} is sound (--full reads every byte too)"
    card = json.loads((out / "dataset.json").read_text())
    (out / "dataset.json").write_text(json.dumps(card | {"digest": "0" * 64}))
    result = invoke("verify", out)
    assert result.exit_code == 1
    first, last = result.stdout.splitlines()
    assert first.startswith(f"{out}/dataset.json: its digest must be")
    assert last == "1 defect(s)"


def test_verify_reads_every_byte_only_when_asked(out: Path) -> None:
    (tar,) = (out / "columns/tone").glob("*.tar")
    tar.write_bytes(bytes(tar.stat().st_size))
    assert invoke("verify", out).exit_code == 0
    assert invoke("verify", out, "--full").exit_code == 1


def test_show_draws_the_keys_it_is_given(out: Path, tmp_path: Path) -> None:
    few, every = tmp_path / "in" / "few.png", tmp_path / "every.png"
    result = invoke("show", out, rows(out, "image")[1].key, "--out", few)
    assert (result.exit_code, result.stdout) == (0, f"{few}\n")
    assert invoke("show", out, "--out", every).exit_code == 0
    assert Image.open(few).height < Image.open(every).height
    assert invoke("show", out, "zz", "--out", few).exit_code == 2


@pytest.mark.parametrize("name", ["sheet", "sheet.txt", "folder.png", "recipe.yaml/sheet.png"])
def test_a_sheet_is_written_to_a_picture_file(out: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.png").mkdir()
    result = invoke("show", out, "--out", tmp_path / name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: --out must be a file that ")
    assert result.stderr.count("\n") == 1


def test_failures_name_item_and_message(poisoned: Path, tmp_path: Path) -> None:
    out = tmp_path / "new"
    build = invoke("build", poisoned, out, "--workers", 0)
    assert f"`onegen failures {out}` lists them" in build.stdout
    assert f"`onegen failures {out}` lists them" in invoke("status", out).stdout
    listed = invoke("failures", out)
    assert listed.exit_code == 0
    assert listed.stdout.startswith("00001.jpg (")
    assert "poison failed with bad_sample, tried once: " in listed.stdout
    assert invoke("failures", out, "--stage", "risk", "--reason", "bad*").stdout == listed.stdout
    assert invoke("failures", out, "--reason", "crash").stdout == "0 failed row(s)\n"
    assert invoke("failures", out, "--csv").stdout.startswith("item,key,column,")
    wrong = invoke("failures", out, "--stage", "risky")
    assert (wrong.exit_code, wrong.stderr) == (
        2,
        "error: --stage must be a stage or a column of the dataset, got 'risky'; did you mean 'risk'?\n",
    )


def damage(path: Path) -> None:
    """Cut a file short."""
    path.write_bytes(path.read_bytes()[:100])


DAMAGES: dict[str, Callable[[Path], None]] = {
    "card": lambda out: damage(out / "dataset.json"),
    "plan": lambda out: damage(out / "plan/000000.parquet"),
    "plan gone": lambda out: shutil.rmtree(out / "plan"),
    "manifest": lambda out: damage(out / "columns/image/000000.json"),
    "index": lambda out: damage(next((out / "columns/image").glob("*.parquet"))),
    "image tar gone": lambda out: next((out / "columns/image").glob("*.tar")).unlink(),
    "image tar": lambda out: damage(next((out / "columns/image").glob("*.tar"))),
    "map tar": lambda out: damage(next((out / "columns/tone").glob("*.tar"))),
}


@pytest.mark.parametrize("verb", ["status", "failures", "verify", "show", "retry"])
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_told_in_one_line(out: Path, tmp_path: Path, name: str, verb: str) -> None:
    DAMAGES[name](out)
    words = {"show": ["--out", tmp_path / "sheet.png"], "retry": ["--workers", 0, "--trust", "tests"]}.get(verb, [])
    result = invoke(verb, out, *words)
    assert result.exit_code == (1 if verb == "verify" else result.exit_code)
    if result.exit_code == 2:
        *_, line = result.stderr.splitlines()
        assert line.startswith("error: ")
        assert "onegen verify" in line or "Restore it from a copy" in line or "made anew" in line


URLS = ["foo://x", "s3://bucket/x", "gs://bucket/x", "zip://x", "ftp://localhost:1/x", "http://127.0.0.1:9/x"]


@pytest.mark.parametrize("verb", ["status", "failures", "verify", "show", "retry"])
@pytest.mark.parametrize("url", URLS)
def test_a_url_that_cannot_be_opened_is_told_in_one_line(url: str, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onegen.storage.objects.RETRIES", {"max_retries": 0})
    result = invoke(verb, url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_models_lists_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEGEN_MODELS", str(tmp_path))
    result = invoke("models")
    assert result.exit_code == 0
    assert "missing  hed.onnx" in result.stdout
    assert f"in {tmp_path}; bring what is missing with `onegen models fetch`\n" in result.stdout


def test_models_fetch_brings_what_is_named_and_lists_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[list[str]] = []
    monkeypatch.setattr("onegen.config.fetching.fetch", lambda names, report: named.append(list(names)))
    for words in ([], ["hed", "minilm"]):
        result = invoke("models", "fetch", *words)
        assert (result.exit_code, result.stdout) == (0, "")
    assert named == [[], ["hed"], ["minilm"]]


def test_the_doctor_prints_every_check_and_says_by_its_code_whether_all_is_there(tmp_path, poisoned):
    done = invoke("doctor", poisoned, tmp_path / "out")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "nothing is missing"
    (tmp_path / "photos/0.jpg").parent.rename(tmp_path / "elsewhere")
    done = invoke("doctor", poisoned, tmp_path / "out")
    assert done.exit_code == 1
    assert "missing source: source folder must exist" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 thing(s) missing"
    assert not (tmp_path / "out").exists()


def test_constraints_are_those_of_the_checkout():
    assert invoke("constraints").stdout == (Path(__file__).parents[2] / "constraints.txt").read_text()


def test_verify_repairs_what_it_can_and_says_what_is_left(tmp_path, poisoned):
    out = tmp_path / "out"
    invoke("build", poisoned, out, "--workers", "0")
    (out / "plan/000000.parquet").unlink()
    (out / "dataset.json").write_text("{")
    refused = invoke("verify", out, "--recipe", poisoned)
    assert (refused.exit_code, "--recipe must stand with --repair" in refused.stderr) == (2, True)
    assert invoke("verify", out).exit_code == 1
    done = invoke("verify", out, "--repair", "--recipe", poisoned)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0].startswith(f"repaired {out}/plan/000000.parquet: made again")
    assert done.stdout.splitlines()[-1].startswith(f"{out} is sound")
