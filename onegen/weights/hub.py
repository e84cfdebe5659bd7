"""Pretrained weights from a model hub, or a folder of this machine: pinned, fetched once a machine, verified.

    MODELS/hub/OWNER--NAME/refs/main       the commit that a branch meant when it was first asked for
    MODELS/hub/OWNER--NAME/COMMIT.json     what the hub says is in that commit: sizes, hashes, licence
    MODELS/hub/OWNER--NAME/COMMIT/...      the files that were asked for
    MODELS/hub/OWNER--NAME/COMMIT.seen     sizes and times of files whose hashes were found right

What a branch meant is asked once, so that a repository that moves on changes no dataset unasked; `refs/` may be
deleted to ask anew. A file appears whole or not at all, a broken download goes on where it stopped. Copied to another
machine, the folder needs no hub.
"""

import contextlib
import fnmatch
import functools
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onegen.errors import ConfigError
from onegen.sample import Weights
from onegen.storage.whole import whole
from onegen.weights.folder import MODELS, locked, models_folder
from onegen.weights.packages import sha256_file
from onegen.weights.published import PUBLISHED
from onegen.weights.runtimes import require_package

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
COMMIT = re.compile(r"[0-9a-f]{40}")
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.onnx")
TRANSFORMERS = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors")
"""The files of a repository that transformers or diffusers loads: no pickles, and no weights a second time."""
TWICE = ("*.fp16.safetensors", "*.non_ema.safetensors", "original/*", "onnx/*", "consolidated*.safetensors")
"""Weights that lie in repositories once more, for other programs."""
TOKEN = "HF_TOKEN"
Report = Callable[[str], None]


@dataclass(frozen=True)
class Listing:
    """What a commit has: bytes and hash of each file (`sha256`, or git's `blob` of small ones), and its licence."""

    files: Mapping[str, Mapping[str, Any]]
    licence: str

    @staticmethod
    def read(path: Path) -> "Listing":
        """Return what a listing's file holds."""
        data = json.loads(path.read_text(encoding="utf-8"))
        return Listing(data["files"], data["licence"])

    def hash_of(self, name: str) -> str:
        """Return the hash of a file, of the kind that the hub says."""
        return str(self.files[name].get("sha256") or self.files[name]["blob"])


@dataclass(frozen=True)
class HubModel:
    """A repository of a hub, or a folder of this machine, as whoever uses it holds it.

    `files` are shell patterns of what is needed of it; `sha256` is what its weights must have, where a recipe says so;
    `extra` is the extra of onegen that loads it.
    """

    repo: str
    revision: str = "main"
    files: tuple[str, ...] = TRANSFORMERS
    sha256: str | None = None
    extra: str = "hub"

    def __post_init__(self) -> None:
        if not _is_inside(self.revision) or not (self.is_local or _REPO.fullmatch(self.repo)):
            raise ConfigError(
                f"model must be owner/name of a repository, with a plain revision, or a folder that begins with /, . "
                f"or ~, got {self.repo!r} at {self.revision!r}."
            )

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine: an absolute path, or one that begins with a dot or a tilde."""
        return self.repo.startswith(("/", ".", "~"))

    def commit(self) -> str:
        """Return the commit that the revision means, asked of the hub once; `local` for a folder.

        Raises ConfigError where the hub cannot be asked, or does not have it.
        """
        if self.is_local or COMMIT.fullmatch(self.revision):
            return "local" if self.is_local else self.revision
        ref = self._home / "refs" / self.revision
        if not ref.is_file():
            with locked(self._home, "refs"):
                if not ref.is_file():
                    self._ask(self.revision)
        return ref.read_text(encoding="ascii").strip()

    def require(self) -> None:
        """Check that its files are here, or that the hub has them; raises ConfigError saying what to do."""
        require_package("huggingface_hub", "huggingface-hub", self.extra)
        identity = self.identity()
        if self.sha256 is not None and identity.sha256 != self.sha256:
            raise ConfigError(
                f"weights of {self.repo} at {identity.revision} must have SHA-256 {self.sha256}, got "
                f"{identity.sha256}. Name another revision, or the hash of the weights that you want."
            )

    def identity(self) -> Weights:
        """Return what manifests record of it. Its SHA-256 is of its one file of weights, or of the list of theirs."""
        if self.is_local:
            return _identity_of_folder(self._local_folder(), self.files)
        commit = self.commit()
        listing = self._listing(commit)
        weights = {name: listing.hash_of(name) for name in self._wanted(listing) if _is_weights(name)}
        known = PUBLISHED.get(self.repo)
        return Weights(self.repo, commit, _digest(weights), known.licence if known else listing.licence)

    def is_here(self) -> bool:
        """Say whether nothing of it would have to be fetched; asks no hub."""
        if self.is_local:
            return self._local_folder().is_dir()
        known = COMMIT.fullmatch(self.revision) or (self._home / "refs" / self.revision).is_file()
        if not known or not self._listing_path(self.commit()).is_file():
            return False
        commit = self.commit()
        return not self._lacking(commit, self._listing(commit))

    def folder(self, report: Report = lambda line: None) -> Path:
        """Return the folder with its files, fetched where they are not here, their hashes found right once a machine.

        Processes that fetch at once wait for one another. Raises ConfigError where the hub does not give them, where
        there is no room, and for files that are not what the hub says.
        """
        if self.is_local:
            return self._local_folder()
        commit = self.commit()
        listing = self._listing(commit)
        if self._lacking(commit, listing):
            with locked(self._home, commit):
                self._fetch(commit, listing, report)
        self._verify(commit, listing)
        return self._home / commit

    def session(self) -> Path:
        """Return `folder()`: who loads it knows how."""
        return self.folder()

    @property
    def _home(self) -> Path:
        return models_folder() / "hub" / self.repo.replace("/", "--")

    def _listing_path(self, commit: str) -> Path:
        return self._home / f"{commit}.json"

    def _local_folder(self) -> Path:
        folder = Path(self.repo).expanduser().resolve()
        if not folder.is_dir():
            raise ConfigError(
                f"model must be a repository, such as owner/name, or a folder, got {self.repo}, which is none."
            )
        if not _files_of(folder, self.files):
            raise ConfigError(f"model folder {folder} must hold weights ({', '.join(self.files)}), and holds none.")
        return folder

    def _listing(self, commit: str) -> Listing:
        if not self._listing_path(commit).is_file():
            with locked(self._home, "refs"):
                if not self._listing_path(commit).is_file():
                    self._ask(commit)
        listing = Listing.read(self._listing_path(commit))
        if not any(_is_weights(name) for name in self._wanted(listing)):
            raise ConfigError(
                f"repository {self.repo} must hold weights ({', '.join(self.files)}), and holds none of them at "
                f"{commit[:8]}. Name another revision, or another repository."
            )
        return listing

    def _wanted(self, listing: Listing) -> list[str]:
        return sorted(name for name in listing.files if _matches(name, self.files))

    def _lacking(self, commit: str, listing: Listing) -> list[str]:
        folder = self._home / commit
        return [name for name in self._wanted(listing) if _size(folder / name) != listing.files[name]["bytes"]]

    def _ask(self, revision: str) -> None:
        """Write down what the hub says of a revision: its commit, if it is a branch, and what that has."""
        info = _asked(self.repo, revision, "model_info", files_metadata=True)
        commit = str(info.sha)
        files = {
            entry.rfilename: {"bytes": entry.size, "sha256": entry.lfs.sha256}
            if entry.lfs
            else {"bytes": entry.size, "blob": entry.blob_id}
            for entry in info.siblings or ()
        }
        strange = next((name for name in files if not _is_inside(name)), None)
        if strange is not None:
            raise ConfigError(f"repository {self.repo} must hold files inside its own folder, and names {strange!r}.")
        licence = str((info.card_data or {}).get("license") or "unknown")
        text = json.dumps({"files": files, "licence": licence}, indent=1, sort_keys=True)
        _write(self._listing_path(commit), f"{text}\n")
        if revision != commit:
            _write(self._home / "refs" / revision, f"{commit}\n")

    def _fetch(self, commit: str, listing: Listing, report: Report) -> None:
        """Bring what is not here; the lock is held."""
        lacking = self._lacking(commit, listing)
        if not lacking:
            return
        self._check_room(listing, lacking)
        size = sum(int(listing.files[name]["bytes"]) for name in lacking)
        report(f"{self.repo} {commit[:8]}: fetching {len(lacking)} file(s), {size / 1e6:,.0f} MB")
        folder = self._home / commit
        for name in lacking:
            _asked(self.repo, commit, "hf_hub_download", filename=name, local_dir=folder)
        self._verify(commit, listing)

    def _check_room(self, listing: Listing, lacking: Sequence[str]) -> None:
        needed = sum(int(listing.files[name]["bytes"]) for name in lacking)
        free = shutil.disk_usage(self._home).free
        if needed > free:
            raise ConfigError(
                f"model folder must have {needed / 1e9:,.1f} GB free for {self.repo}, got {free / 1e9:,.1f} GB in "
                f"{models_folder()}. Make room, or set {MODELS} to another folder."
            )

    def _verify(self, commit: str, listing: Listing) -> None:
        """Compare the hashes of files that were not seen before with the listing's; raises ConfigError."""
        folder, seen_path = self._home / commit, self._home / f"{commit}.seen"
        seen = json.loads(seen_path.read_text(encoding="utf-8")) if seen_path.is_file() else {}
        fresh = {name: _stamp(folder / name) for name in self._wanted(listing)}
        unseen = [name for name, stamp in fresh.items() if seen.get(name) != stamp]
        for name in unseen:
            expected, got = listing.hash_of(name), _hash_like(listing.files[name], folder / name)
            if got != expected:
                (folder / name).unlink()
                raise ConfigError(
                    f"file {name} of {self.repo} must have the hash {expected} that the hub says, got {got}. It was "
                    f"removed: run the command again, and do not use a mirror that changes files."
                )
        if unseen:
            with contextlib.suppress(OSError):  # a folder that many machines read may be theirs to read alone
                _write(seen_path, json.dumps({**seen, **fresh}, sort_keys=True))


def _asked(repo: str, revision: str, question: str, **options: Any) -> Any:
    """Return what a method of the hub's client answers; raises ConfigError for every way in which it does not."""
    from huggingface_hub import HfApi, errors
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of whichever client it uses

    try:
        return getattr(HfApi(endpoint=os.environ.get("HF_ENDPOINT")), question)(repo, revision=revision, **options)
    except errors.GatedRepoError as error:
        raise ConfigError(
            f"repository {repo} is gated: accept its licence on its page of the hub, then set {TOKEN} to a token of "
            f"your account and run the command again."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ConfigError(f"repository {repo} must have the revision {revision!r}, and has not.") from error
    except errors.RepositoryNotFoundError as error:
        raise ConfigError(
            f"repository {repo} must be on the hub, and is not, or is private. Check its name; of a private one, set "
            f"{TOKEN}."
        ) from error
    except (OSError, HTTPError, errors.HFValidationError, RuntimeError) as error:
        raise ConfigError(
            f"repository {repo} ({revision}) is not in the model folder {models_folder()}, and the hub cannot be asked "
            f"for it: {str(error).splitlines()[0]}. Fetch it where there is a network with `onegen models fetch RECIPE "
            f"--to DIR`, bring DIR here, and set {MODELS}=DIR."
        ) from error


@functools.lru_cache(maxsize=64)
def _identity_of_folder(folder: Path, files: tuple[str, ...]) -> Weights:
    """Return the identity of a folder of this machine: all its files, configuration among them, and no path."""
    names = _files_of(folder, files)
    hashes = {name: _known_hash(folder / name) for name in names}
    return Weights(folder.name, "local", _digest(hashes), "unknown")


def _known_hash(path: Path) -> str:
    """Return a file's SHA-256, kept in the model folder for as long as its size and time stay."""
    path = path.resolve()
    notes = models_folder() / "hub" / "local" / f"{hashlib.sha256(str(path).encode()).hexdigest()[:32]}.json"
    stamp, noted = _stamp(path), None
    if notes.is_file():
        noted = json.loads(notes.read_text(encoding="utf-8"))
    if noted is None or noted[0] != stamp:
        noted = [stamp, sha256_file(path)]
        with contextlib.suppress(OSError):
            _write(notes, json.dumps(noted))
    return str(noted[1])


def _files_of(folder: Path, patterns: Sequence[str]) -> list[str]:
    """Return the files of a folder that match, if weights are among them."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    matching = [name for name in names if _matches(name, patterns)]
    return matching if any(_is_weights(name) for name in matching) else []


def _matches(name: str, patterns: Sequence[str]) -> bool:
    is_hidden = any(part.startswith(".") for part in name.split("/"))
    is_twice = any(fnmatch.fnmatchcase(name, pattern) for pattern in TWICE if pattern not in patterns)
    return not is_hidden and not is_twice and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _is_inside(name: str) -> bool:
    """Say whether a name with slashes leads nowhere but below where it starts: a stranger may have given it."""
    return name.isprintable() and all(part not in ("", ".", "..") for part in name.split("/")) and "\\" not in name


def _is_weights(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in WEIGHTS)


def _digest(hashes: Mapping[str, str]) -> str:
    return (
        next(iter(hashes.values()))
        if len(hashes) == 1
        else hashlib.sha256(json.dumps(dict(hashes), sort_keys=True).encode()).hexdigest()
    )


def _hash_like(expected: Mapping[str, Any], path: Path) -> str:
    """Return a file's hash of the kind that a listing has: SHA-256, or git's SHA-1 of a blob."""
    if "sha256" in expected:
        return sha256_file(path)
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")
