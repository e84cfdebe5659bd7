"""The files a source is made of: a path, a glob, a range in braces or a folder, local or any fsspec URL."""

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
        """The folder uris start from, as the file system names it: said by the pattern alone, whatever is there."""
        steps = self._path.rstrip("/").split("/")
        for index, step in enumerate(steps):
            if _MAGIC.search(step):
                return "/".join(steps[:index])
        return "/".join(steps[:-1] if steps[-1].lower().endswith(self.extensions) else steps)

    def listed(self) -> list[PlannedFile]:
        """Return the files in order of their uris; raises ConfigError where there is none or one cannot be listed."""
        return self._list(_expanded(self._path))

    def first(self) -> PlannedFile:
        """Return the first file, whatever became of the others; raises ConfigError where it is not there."""
        return self._list(itertools.islice(_expanded(self._path), 1))[0]

    def _list(self, paths: Iterable[str]) -> list[PlannedFile]:
        try:
            files = {uri: PlannedFile(uri, *self._state(info)) for path in paths for uri, info in self._matches(path)}
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

    def _matches(self, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield uri and facts of the files that a path without a range means."""
        if _MAGIC.search(path):
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
