"""How captures lie in a folder, format by format: which files say where cameras stand, and what else a scene has.

A layout knows its documents by their names. From the first of a scene's documents follows where its paths start. What
the documents say is read by `onegen.scenes.captures`. docs/scenes.md.
"""

import functools
import posixpath
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import ClassVar

import numpy as np

from onegen.errors import SampleError
from onegen.scenes.captures.co3d import FRAMES, SEQUENCES, Entry, co3d_depth, co3d_qualities, co3d_sequences, co3d_shots
from onegen.scenes.captures.colmap import MASKS, MODEL_FILES, colmap_shots, pictures_folder
from onegen.scenes.captures.frames import SMALLER, Documents, Shot
from onegen.scenes.captures.nerfstudio import TRANSFORMS, nerfstudio_shots
from onegen.scenes.captures.renders import (
    gobjaverse_depth,
    gobjaverse_shots,
    gso30_shots,
    is_gobjaverse_view,
    is_gso30_view,
)
from onegen.shards.plan import PlannedFile
from onegen.sources.reading.tree import FileTree


class Layout(ABC):
    """One format of captures. Uris start from the source's root, paths within a scene from its `base`."""

    name: ClassVar[str]
    is_a_file_a_view: ClassVar[bool] = False
    """Whether each view has a document of its own: they are then looked for scene by scene."""

    @abstractmethod
    def is_document(self, uri: str) -> bool:
        """Say whether a file, by its name, says where cameras stand."""

    @abstractmethod
    def base(self, document: str) -> str:
        """Return the folder that a scene's paths start from, "" for the root, given one of its documents."""

    def items(self, tree: FileTree, document: PlannedFile) -> Iterator[str]:
        """Yield the scenes that a document is of, by their ids; raises SampleError where it says none."""
        yield self.base(document.uri) or self.name

    def folder(self, item: str, base: str) -> str:
        """Return the folder that is a scene's alone."""
        return base

    def there(self, tree: FileTree, base: str, images: str | None) -> Iterator[PlannedFile]:
        """Yield files of a scene that its documents need not name: pictures that may have no camera."""
        yield from ()

    @abstractmethod
    def shots(self, item: str, documents: Documents, there: Collection[str], images: str | None) -> list[Shot]:
        """Return a scene's frames in order, given its documents and the files there, by their paths within it.

        `images` is the folder of pictures to prefer. Raises SampleError `unreadable_cameras`.
        """

    def depth(self, numbers: np.ndarray, shot: Shot) -> np.ndarray:
        """Return distances float32 (H,W), 0 unknown, of the numbers that a depth map stores."""
        return numbers.astype(np.float32) * np.float32(shot.depth_scale)

    def quality(self, item: str, documents: Documents) -> float | None:
        """Return how good the format's makers hold the cameras of a scene to be."""
        return None


class Nerfstudio(Layout):
    """A `transforms.json` and pictures beside it: nerfstudio, instant-ngp, DL3DV."""

    name = "nerfstudio"

    def is_document(self, uri: str) -> bool:
        """Say whether a file is a transforms.json."""
        return posixpath.basename(uri) == TRANSFORMS

    def base(self, document: str) -> str:
        """Return the folder of the transforms.json."""
        return posixpath.dirname(document)

    def items(self, tree: FileTree, document: PlannedFile) -> Iterator[str]:
        """Yield the folder of the transforms.json."""
        yield self.base(document.uri) or TRANSFORMS

    def shots(self, item: str, documents: Documents, there: Collection[str], images: str | None) -> list[Shot]:
        """Return the frames in the file's order."""
        return nerfstudio_shots(documents, images)


class Colmap(Layout):
    """A model of COLMAP, text or binary, and `images` beside `sparse/0`; each model is a scene."""

    name = "colmap"

    def is_document(self, uri: str) -> bool:
        """Say whether a file is one of a model's that are read."""
        return posixpath.basename(uri) in MODEL_FILES

    def base(self, document: str) -> str:
        """Return the folder that the folder of pictures lies in."""
        return pictures_folder(posixpath.dirname(document))

    def items(self, tree: FileTree, document: PlannedFile) -> Iterator[str]:
        """Yield the folder of the model: a scene may have several."""
        yield posixpath.dirname(document.uri) or self.name

    def there(self, tree: FileTree, base: str, images: str | None) -> Iterator[PlannedFile]:
        """Yield the files in the first set of pictures that is there, and the masks."""
        sets = [*([images] if images else []), "images", *SMALLER]
        folders = {place: tree.path(posixpath.join(base, place)) for place in (*sets, MASKS)}
        first = next((place for place in sets if tree.fs.isdir(folders[place])), None)
        if first is not None:
            yield from tree.walk(folders[first], Counter())
        if tree.fs.isdir(folders[MASKS]):
            yield from tree.walk(folders[MASKS], Counter())

    def shots(self, item: str, documents: Documents, there: Collection[str], images: str | None) -> list[Shot]:
        """Return the frames by name, those without a pose among them."""
        return colmap_shots(documents, there, images)


class Co3d(Layout):
    """A category of CO3D v2: `frame_annotations.jgz` of all its sequences, each of which is a scene."""

    name = "co3d"

    def is_document(self, uri: str) -> bool:
        """Say whether a file holds annotations of frames or of sequences."""
        return posixpath.basename(uri) in (FRAMES, SEQUENCES)

    def base(self, document: str) -> str:
        """Return the folder of the categories."""
        return posixpath.dirname(posixpath.dirname(document))

    def items(self, tree: FileTree, document: PlannedFile) -> Iterator[str]:
        """Yield the sequences of a category as CATEGORY/SEQUENCE."""
        if posixpath.basename(document.uri) == FRAMES:
            category = posixpath.dirname(document.uri)
            yield from (posixpath.join(category, name) for name in _sequences(tree.read(document)))

    def folder(self, item: str, base: str) -> str:
        """Return the folder of the sequence."""
        return item

    def shots(self, item: str, documents: Documents, there: Collection[str], images: str | None) -> list[Shot]:
        """Return the frames of a sequence by number."""
        entries = _sequences(_named(documents, FRAMES) or b"").get(posixpath.basename(item))
        if entries is None:
            raise SampleError("unreadable_cameras", f"annotations must have the sequence {item}, got none of it.")
        return co3d_shots(entries)

    def depth(self, numbers: np.ndarray, shot: Shot) -> np.ndarray:
        """Return distances of half floats that 16 bits hold."""
        return co3d_depth(numbers, shot.depth_scale)

    def quality(self, item: str, documents: Documents) -> float | None:
        """Return the score of a sequence's viewpoints."""
        data = _named(documents, SEQUENCES)
        return _qualities(data).get(posixpath.basename(item)) if data is not None else None


class Gobjaverse(Layout):
    """An object of G-Objaverse: `00003/00003.png` with `00003.json` for each view, maybe `00003_nd.exr`."""

    name = "gobjaverse"
    is_a_file_a_view = True

    def is_document(self, uri: str) -> bool:
        """Say whether a file is the camera of a view."""
        return is_gobjaverse_view(uri)

    def base(self, document: str) -> str:
        """Return the folder of the object."""
        return posixpath.dirname(posixpath.dirname(document))

    def there(self, tree: FileTree, base: str, images: str | None) -> Iterator[PlannedFile]:
        """Yield the files of the object, the camera of each view among them."""
        yield from tree.walk(tree.path(base), Counter())

    def shots(self, item: str, documents: Documents, there: Collection[str], images: str | None) -> list[Shot]:
        """Return the views by number."""
        return gobjaverse_shots(documents, there)

    def depth(self, numbers: np.ndarray, shot: Shot) -> np.ndarray:
        """Return the distances among the numbers of an EXR of normals and depth."""
        return gobjaverse_depth(numbers, shot)


class Gso30(Layout):
    """An object of GSO30 or Zero123: `003.png` with `003.npy` for each view."""

    name = "gso30"
    is_a_file_a_view = True

    def items(self, tree: FileTree, document: PlannedFile) -> Iterator[str]:
        """Yield the folder, where pictures lie in it: other people number their arrays too."""
        beside = tree.fs.ls(tree.path(self.base(document.uri)), detail=False)
        if any(str(path).endswith(".png") for path in beside):
            yield from super().items(tree, document)

    def is_document(self, uri: str) -> bool:
        """Say whether a file is the camera of a view."""
        return is_gso30_view(uri)

    def base(self, document: str) -> str:
        """Return the folder of the views."""
        return posixpath.dirname(document)

    def there(self, tree: FileTree, base: str, images: str | None) -> Iterator[PlannedFile]:
        """Yield the files beside the matrices."""
        files = tree.walk(tree.path(base), Counter())
        yield from (file for file in files if posixpath.dirname(file.uri) == base)

    def shots(self, item: str, documents: Documents, there: Collection[str], images: str | None) -> list[Shot]:
        """Return the views by number, pictures without a matrix among them."""
        return gso30_shots(documents, there)


LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout for layout in (Nerfstudio(), Co3d(), Colmap(), Gobjaverse(), Gso30())
}
"""The formats by name; where a scene has cameras in several, those of the first."""


def _named(documents: Documents, name: str) -> bytes | None:
    return next((data for path, data in documents.items() if posixpath.basename(path) == name), None)


# A category's annotations hold all its sequences, which come one after another: they are parsed once for them.
@functools.lru_cache(maxsize=1)
def _sequences(data: bytes) -> Mapping[str, list[Entry]]:
    return co3d_sequences(data)


@functools.lru_cache(maxsize=1)
def _qualities(data: bytes) -> Mapping[str, float]:
    return co3d_qualities(data)
