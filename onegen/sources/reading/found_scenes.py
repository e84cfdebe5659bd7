"""The captures that lie below a folder, whatever their layouts: each with its pictures and what lies beside them."""

import os
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onegen.errors import ConfigError, SampleError
from onegen.scenes.captures.frames import Shot
from onegen.scenes.captures.nerfstudio import TRANSFORMS
from onegen.shards.plan import PlannedFile
from onegen.sources.reading.beside import is_licence, nearest_licence
from onegen.sources.reading.layouts import Layout
from onegen.sources.reading.places import Places, is_below, path_of, uri_of, within
from onegen.sources.reading.tree import FileTree

CAPTIONS = ("caption.txt", "caption.json")
"""Files of a scene that say what it shows."""
_OTHER_CAMERAS = "they are further cameras of a scene that has some already"
_NO_PICTURES = "they are folders of numbered arrays, without pictures"
_REFUSED = "they are frames without a sound camera, of scenes that max_views thins"


@dataclass(frozen=True)
class FoundScenes:
    """What a plan of captures is made from: the scenes of some layouts below a folder.

    `max_views` and `images` are as in the source `captures`; `passed` counts what is left out, by the reason why.
    """

    tree: FileTree
    layouts: Sequence[Layout]
    max_views: int | None
    images: str | None
    passed: Counter[str] = field(default_factory=Counter)

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield scenes as rows of LISTING; one whose cameras cannot be read is among them, and fails.

        Raises ConfigError for a folder that cannot be read.
        """
        found, licences = self._found()
        taken: set[str] = set()
        for layout in self.layouts:
            own: set[str] = set()
            for document, others in found[layout.name].items():
                base = layout.base(document)
                if is_below(document, taken):
                    self.passed[_OTHER_CAMERAS] += 1
                    continue
                items = self._scenes_of(layout, others)
                self.passed[_NO_PICTURES] += not items
                for item in items:
                    own.add(layout.folder(item, base))
                    yield self._row(layout, item, base, others, licences)
            taken |= own

    def _found(self) -> tuple[dict[str, dict[str, list[PlannedFile]]], dict[str, PlannedFile]]:
        """Return the documents by layout and by the first of those that lie together, and the licences by folder."""
        tree = self.tree
        if not tree.fs.isdir(tree.base):
            raise ConfigError(
                f"source captures must exist, got {tree.base}. Paths in a recipe start from where you run onegen."
            )
        groups: dict[str, dict[str, list[PlannedFile]]] = {layout.name: defaultdict(list) for layout in self.layouts}
        licences: dict[str, PlannedFile] = {}
        try:
            for file in tree.walk(tree.base, self.passed):
                layout = next((layout for layout in self.layouts if layout.is_document(file.uri)), None)
                if layout is not None:
                    folder = layout.base(file.uri) if layout.is_a_file_a_view else posixpath.dirname(file.uri)
                    group = groups[layout.name][folder]
                    if not group or not layout.is_a_file_a_view:
                        group.append(file)
                elif is_licence(file.uri):
                    licences[os.path.dirname(file.uri)] = file
        except OSError as error:
            raise ConfigError(
                f"source captures must be readable, got {error.filename or tree.base}: {error.strerror or error}."
            ) from error
        sorted_groups = {
            name: {group[0].uri: group for _, group in sorted(by_folder.items())} for name, by_folder in groups.items()
        }
        return sorted_groups, licences

    def _scenes_of(self, layout: Layout, documents: Sequence[PlannedFile]) -> list[str]:
        """Return the scenes that documents are of; those that cannot be read are one, which fails."""
        try:
            return sorted({item for document in documents for item in layout.items(self.tree, document)})
        except SampleError:
            return [posixpath.dirname(documents[0].uri) or layout.name]

    def _row(
        self,
        layout: Layout,
        item: str,
        base: str,
        known: Sequence[PlannedFile],
        licences: Mapping[str, PlannedFile],
    ) -> tuple[Any, ...]:
        """Return a scene as a row of LISTING."""
        there = list(layout.there(self.tree, base, self.images))
        documents = {file.uri: file for file in (*known, *there) if layout.is_document(file.uri)}
        beside = {**documents}
        folder = layout.folder(item, base)
        beside |= {file.uri: file for file in self._there(posixpath.join(folder, name) for name in CAPTIONS)}
        licence = nearest_licence(licences, posixpath.join(folder, TRANSFORMS))
        beside |= {licence.uri: licence} if licence is not None else {}
        try:
            read = {path_of(base, file.uri): self.tree.read(file) for file in documents.values()}
            shots = layout.shots(item, read, [path_of(base, file.uri) for file in there], self.images)
        except SampleError:
            return item, [known[0].record()], [file.record() for file in beside.values()]
        chosen = self._chosen(shots) or shots
        places = Places(self.tree, base)
        files = {file.uri: file for file in there}
        images = [self._picture(base, shot, places, files) for shot in chosen] or [known[0]]
        maps = (within(base, name) for shot in chosen for name in (shot.depth, shot.mask) if name)
        beside |= {file.uri: file for file in self._there(uri for uri in maps if uri is not None)}
        return item, [file.record() for file in images], [file.record() for file in beside.values()]

    def _chosen(self, shots: Sequence[Shot]) -> Sequence[Shot]:
        """Return the frames that are taken, in order: of many, so many of the sound ones at even distances."""
        sound = [shot for shot in shots if shot.fault is None]
        if self.max_views is None or len(sound) <= self.max_views:
            return shots
        self.passed[_REFUSED] += len(shots) - len(sound)
        last = len(sound) - 1
        return [sound[round(last * step / (self.max_views - 1))] for step in range(self.max_views)]

    def _picture(self, base: str, shot: Shot, places: Places, files: Mapping[str, PlannedFile]) -> PlannedFile:
        """Return the picture of a frame; one that is nowhere is planned where it should be, and fails by its name."""
        for name in shot.pictures:
            uri = within(base, name)
            if uri is None or not places.has(name):
                continue
            if uri in files:
                return files[uri]
            for file in self._there([uri]):
                return file
        return PlannedFile(uri_of(base, shot.pictures[-1] if shot.pictures else shot.name), 0, "mtime:none")

    def _there(self, uris: Iterable[str]) -> Iterator[PlannedFile]:
        """Yield the files among these that are there."""
        for uri in uris:
            if self.tree.fs.isfile(self.tree.path(uri)):
                yield PlannedFile(uri, *self.tree.state(uri))
