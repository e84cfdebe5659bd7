"""The files a source is made of: a path, a glob, a range in braces or a folder, local or any fsspec URL."""

import glob
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import fsspec

from onegen.errors import ConfigError
from onegen.shards.plan import PlannedFile
from onegen.sources.reading.tree import FileTree, local_state, remote_state

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MAGIC = re.compile(r"[*?\[]|\{\d+\.\.\d+\}")


@dataclass(frozen=True)
class Files:
    """Files with an extension of `extensions` that `pattern` means; `option` is the one of the recipe it stands in.

    `./data` (the folder, recursively, but for hidden files), `./data/*.tar`, `s3://bucket/{0000..0041}.tar`, `one.tar`.
    What exists is itself: a folder called `set [v1]` needs no escapes.
    """

    pattern: str
    extensions: tuple[str, ...]
    option: str

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

    def first(self) -> PlannedFile:
        """Return the first file, whatever became of the others; raises ConfigError where it is not there."""
        return self._list(itertools.islice(self._paths(), 1))[0]

    def _list(self, paths: Iterable[tuple[str, bool]]) -> list[PlannedFile]:
        try:
            matches = (match for path in paths for match in self._matches(*path))
            files = {uri: PlannedFile(uri, *self._state(info)) for uri, info in matches}
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
            raise ConfigError(
                f"{self.option} must name at least one {' or '.join(self.extensions)} file, got {self.pattern}, which "
                f"means none. Paths in a recipe start from where you run onegen."
            )
        return [files[uri] for uri in sorted(files)]

    def _state(self, info: Mapping[str, Any]) -> tuple[int, str]:
        return local_state(os.stat(info["name"])) if self.tree.is_local else remote_state(info)

    def _paths(self) -> Iterator[tuple[str, bool]]:
        """Yield the paths without ranges that the pattern stands for, and whether each has wildcards that mean some."""
        literal, rest = self._parts
        if not rest:
            yield literal, False
        for tail in _expanded(rest) if rest else ():
            path = f"{literal}/{tail}"
            has_wildcards = _MAGIC.search(tail) is not None and not self.tree.fs.exists(path)
            yield (f"{glob.escape(literal)}/{tail}" if has_wildcards else path), has_wildcards

    def _matches(self, path: str, has_wildcards: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield uri and facts of the files that a path without a range means."""
        if has_wildcards:
            globbed = self.tree.fs.glob(path, detail=True).items()
            candidates = [(name, info) for name, info in globbed if not self._is_hidden(name)]
        elif self.tree.fs.isdir(path):
            candidates = list(self.tree.walk(path))
        else:
            candidates = [(path, self.tree.fs.info(path))]
        for name, info in candidates:
            if info["type"] != "directory" and name.lower().endswith(self.extensions):
                yield self.tree.uri(name), info

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
