"""Mesh files and what is said of each: below a folder, with texts and licences beside them, or of a list in Parquet."""

import os
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from onegen.errors import ConfigError
from onegen.shards.plan import LISTING, PlannedFile, PlannedItem
from onegen.sources.reading.beside import is_licence, nearest_licence, stated_facts
from onegen.sources.reading.rows import is_row
from onegen.sources.reading.table import Table
from onegen.sources.reading.tree import FileTree
from onegen.storage.spill import batched

FORMATS = (".glb", ".gltf", ".obj", ".ply")
_BEGINS = {b"glTF": ".glb", b"ply": ".ply", b"{": ".gltf"}
"""How the bytes of a format begin, where a list gives bytes and no name."""


@dataclass(frozen=True, slots=True)
class MeshFile:
    """The bytes of a mesh, the path that it has or is said to have, and the folder it may name files in, if any."""

    data: bytes = field(repr=False)
    path: Path
    folder: Path | None


class Meshes(Protocol):
    """The meshes that a recipe means."""

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        ...

    def listing(self, views: int) -> Iterator[pa.RecordBatch]:
        """Yield meshes as LISTING batches, each with its file once a view; raises ConfigError where there are none."""
        ...

    def mesh(self, item: PlannedItem) -> MeshFile:
        """Return the mesh of an item; raises SampleError where it is gone, changed or unreadable since the plan."""
        ...

    def facts(self, item: PlannedItem) -> Mapping[str, str]:
        """Return caption, licence and attribution of a mesh as far as they are stated; raises SampleError."""
        ...

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files and folders the last listing left out, by the reason why."""
        ...


@dataclass(frozen=True)
class MeshFolder:
    """The meshes below a folder. Of `chair.glb`, `chair.txt`, `chair.json` and the nearest LICENCE are read."""

    tree: FileTree
    passed: Counter[str] = field(default_factory=Counter)

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        return self.tree.root

    def listing(self, views: int) -> Iterator[pa.RecordBatch]:
        """Yield every mesh file; raises ConfigError for no such folder."""
        self.passed.clear()
        meshes, texts, licences = self._files()
        rows = (
            (
                file.uri,
                [file.record()] * views,
                [one.record() for one in self._beside(file, texts, licences)],
            )
            for file in meshes
        )
        yield from batched(rows, LISTING)

    def mesh(self, item: PlannedItem) -> MeshFile:
        """Return the file of an item. Files that a mesh names lie beside it; of a remote one they are not read."""
        file = item.images[0]
        path = Path(self.tree.path(file.uri))
        return MeshFile(self.tree.read(file), path, path.parent if self.tree.is_local else None)

    def facts(self, item: PlannedItem) -> Mapping[str, str]:
        """Return what the files beside a mesh state, its own before its folder's."""
        facts: dict[str, str] = {}
        for file in sorted(item.sidecars, key=lambda file: not is_licence(file.uri)):
            facts |= stated_facts(file.uri, self.tree.read(file))
        return facts

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files and folders the last listing left out, by the reason why."""
        return dict(self.passed)

    def _files(self) -> tuple[list[PlannedFile], dict[str, PlannedFile], dict[str, PlannedFile]]:
        """Return the mesh files, the texts by uri, and the licences by folder."""
        tree = self.tree
        if not tree.fs.isdir(tree.base):
            raise ConfigError(
                f"source objects must exist, got {tree.base}. Paths in a recipe start from where you run onegen."
            )
        meshes: list[PlannedFile] = []
        texts: dict[str, PlannedFile] = {}
        licences: dict[str, PlannedFile] = {}
        for file in tree.walk(tree.base, self.passed):
            name = file.uri.lower()
            if name.endswith(FORMATS):
                meshes.append(file)
            elif is_licence(file.uri):
                licences[os.path.dirname(file.uri)] = file
            elif name.endswith((".txt", ".json")):
                texts[file.uri] = file
        return meshes, texts, licences

    def _beside(
        self, file: PlannedFile, texts: Mapping[str, PlannedFile], licences: Mapping[str, PlannedFile]
    ) -> list[PlannedFile]:
        stem = os.path.splitext(file.uri)[0]
        licence = nearest_licence(licences, file.uri)
        own = [texts[name] for name in (f"{stem}.txt", f"{stem}.json") if name in texts]
        return [*own, *([licence] if licence is not None else [])]


@dataclass(frozen=True)
class MeshList:
    """The meshes of a list in Parquet: a row each, with its path or its bytes, and what is said of it."""

    table: Table

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        return self.table.root

    def listing(self, views: int) -> Iterator[pa.RecordBatch]:
        """Yield every row; raises ConfigError for a list that is none, or lacks a column."""
        return self.table.listing(views)

    def mesh(self, item: PlannedItem) -> MeshFile:
        """Return the mesh of a row; one that stands in the list as bytes names no files beside it."""
        row = self.table.read(item)
        data, place = row.picture("mesh"), row.place("mesh")
        if place is None:
            start = data[:64].lstrip()
            ending = next((suffix for begin, suffix in _BEGINS.items() if start.startswith(begin)), "")
            said = row.said_path("mesh") or f"mesh{ending}"
            return MeshFile(data, Path(posixpath.basename(said)), None)
        fs, path = place
        return MeshFile(data, Path(path), Path(path).parent if "local" in fs.protocol else None)

    def facts(self, item: PlannedItem) -> Mapping[str, str]:
        """Return what the columns of a row state."""
        if not is_row(item.item):
            return {}
        row = self.table.read(item)
        return {name: text for name in self.table.texts if (text := row.text(name)) is not None}

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files and folders the last listing left out, by the reason why."""
        return self.table.passed_over()
