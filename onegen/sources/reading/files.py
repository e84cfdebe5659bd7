"""The files a source is made of: a path, a glob, a range in braces or a folder, local or any fsspec URL."""

import glob
import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import fsspec

from onegen.errors import ConfigError
from onegen.shards.plan import PlannedFile
from onegen.sources.reading.tree import DATASETS, FileTree, local_state, remote_state

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MAGIC = re.compile(r"[*?\[]|\{\d+\.\.\d+\}")


@dataclass(frozen=True)
class Files:
    """Files with an extension of `extensions` that `pattern` means; `option` is the one of the recipe it stands in.

    `./data` (the folder, recursively, but for hidden files), `./data/*.tar`, `s3://bucket/{0000..0041}.tar`, `one.tar`.
    What exists is itself: a folder called `set [v1]` needs no escapes. `unread` says of other extensions why their
    files are passed over; files of any other lie beside what is meant.
    """

    pattern: str
    extensions: tuple[str, ...]
    option: str
    unread: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def tree(self) -> FileTree:
        """The folder uris start from, and what lies below it."""
        return FileTree(fsspec.url_to_fs(self.pattern)[0], self._base)

    @cached_property
    def _path(self) -> str:
        return str(fsspec.url_to_fs(self.pattern)[1])

    @property
    def _base(self) -> str:
        """The folder uris start from, as the file system names it: said by the pattern, whatever it means today."""
        literal, rest = self._parts
        if rest or not literal.lower().endswith(self.extensions):
            return literal
        return literal.rpartition("/")[0]

    @cached_property
    def _parts(self) -> tuple[str, str]:
        """The path up to its first step with a wildcard or a range, and the steps from there; what exists has none."""
        fs = fsspec.url_to_fs(self.pattern)[0]
        steps = self._path.rstrip("/").split("/")
        for index, step in enumerate(steps):
            if _MAGIC.search(step) and not fs.exists("/".join(steps[: index + 1])):
                return "/".join(steps[:index]), "/".join(steps[index:])
        return "/".join(steps), ""

    def listed(self) -> list[PlannedFile]:
        """Return the files in order of their uris; raises ConfigError where there is none or one cannot be listed."""
        return self._list(self._paths())

    def present(self) -> list[PlannedFile]:
        """Return the files that are there, whatever became of others the pattern names; raises ConfigError for none."""
        there = (path for path in self._paths() if path[1] or self.tree.fs.exists(path[0]))
        return self._list(there)

    @cached_property
    def passed(self) -> Counter[str]:
        """How many files were passed over when they were last listed, by the reason why."""
        return Counter()

    def _list(self, paths: Iterable[tuple[str, bool]]) -> list[PlannedFile]:
        self.passed.clear()
        try:
            files = {file.uri: file for path in paths for file in self._matches(*path)}
            "".join(files).encode()
        except FileNotFoundError as error:
            raise ConfigError(
                f"{self.option} must name files that exist, got {self.pattern} and no {error.filename or error}. "
                f"Paths in a recipe start from where you run onegen."
            ) from error
        except OSError as error:
            raise ConfigError(
                f"{self.option} must be readable, got {self.pattern}: {error}. Give yourself permission."
            ) from error
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"{self.option} must have names of valid UTF-8, got {self.pattern}: {error}. Rename it."
            ) from error
        if not files:
            reasons = "".join(f" {count:,} passed over, because {reason}." for reason, count in self.passed.items())
            raise ConfigError(
                f"{self.option} must name at least one {' or '.join(self.extensions)} file, got {self.pattern}, which "
                f"means none.{reasons} Paths in a recipe start from where you run onegen."
            )
        return [files[uri] for uri in sorted(files)]

    def _paths(self) -> Iterator[tuple[str, bool]]:
        """Yield the paths without ranges that the pattern stands for, and whether each has wildcards that mean some."""
        literal, rest = self._parts
        if not rest:
            yield literal, False
        for tail in _expanded(rest) if rest else ():
            path = f"{literal}/{tail}"
            has_wildcards = _MAGIC.search(tail) is not None and not self.tree.fs.exists(path)
            yield (f"{glob.escape(literal)}/{tail}" if has_wildcards else path), has_wildcards

    def _matches(self, path: str, has_wildcards: bool) -> Iterator[PlannedFile]:
        """Yield the files that a path without a range means, and count those of them that are passed over."""
        for file in self._candidates(path, has_wildcards):
            name = (file.uri if file.uri != "." else path).lower()
            if name.endswith(self.extensions):
                yield file
            for extension, reason in self.unread.items():
                if name.endswith(extension):
                    self.passed[reason] += 1

    def _candidates(self, path: str, has_wildcards: bool) -> Iterator[PlannedFile]:
        tree = self.tree
        if not has_wildcards and tree.fs.isdir(path):
            yield from tree.walk(path, self.passed)
            return
        matches = tree.fs.glob(path, detail=True) if has_wildcards else {path: tree.fs.info(path)}
        datasets = {self.tree.base: False}
        for name, info in matches.items():
            if info["type"] == "directory" or (has_wildcards and self._is_hidden(name)):
                continue
            folder = posixpath.dirname(name)
            if has_wildcards and folder not in datasets:
                datasets[folder] = self._is_in_dataset(folder)
            if datasets.get(folder):
                self.passed[DATASETS] += 1
            else:
                state = local_state(os.stat(name)) if tree.is_local else remote_state(info)
                yield PlannedFile(tree.uri(name), *state)

    def _is_in_dataset(self, folder: str) -> bool:
        """Say whether a folder below the base is, or lies in, an onegen dataset."""
        steps = self.tree.uri(folder).split("/")
        return any(self.tree.holds_dataset(self.tree.path("/".join(steps[: end + 1]))) for end in range(len(steps)))

    def _is_hidden(self, path: str) -> bool:
        return "/." in f"/{self.tree.uri(path)}"


def _expanded(path: str) -> Iterator[str]:
    """Yield the paths a range in braces stands for, {0000..0041}, its numbers as wide as its first."""
    numbers = _RANGE.search(path)
    if numbers is None:
        yield path
        return
    first, last = numbers.groups()
    for number in range(int(first), int(last) + 1):
        yield from _expanded(f"{path[: numbers.start()]}{number:0{len(first)}d}{path[numbers.end() :]}")
