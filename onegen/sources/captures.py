"""Scenes that were captured: pictures with the camera of each, as nerfstudio and DL3DV lay them out.

A folder with a `transforms.json` is a scene, wherever it lies below the root:

    {captures: ./dl3dv}         # ./dl3dv/1K/<scene>/transforms.json, images/frame_00001.png ..., caption.json

Its frames, in the file's order, are the views. Pictures may stand in `images`, or smaller in `images_2`, `images_4` or
`images_8`: focal lengths are kept in sides of the image, so that they hold for all. A caption of the scene stands in
`caption.txt`, or in `caption.json` as an object of texts; LICENCE files are as in the source `folder`. docs/scenes.md.
"""

import json
import os
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import fsspec
import pyarrow as pa

from onegen.config.registry import register
from onegen.errors import ConfigError, SampleError
from onegen.geometry.cameras import to_record
from onegen.geometry.nerfstudio import from_nerfstudio
from onegen.sample import Annotation, Kind, Provides, SourceImage, SourceItem
from onegen.shards.plan import LISTING, PlannedFile, PlannedItem
from onegen.sources.reading.beside import is_licence, nearest_licence, stated_facts
from onegen.sources.reading.sidecar import sidecar_object
from onegen.sources.reading.tree import FileTree
from onegen.storage.spill import batched

TRANSFORMS = "transforms.json"
SMALLER = ("images_2", "images_4", "images_8")
"""Where the pictures of `images` may stand halved, and halved again."""
_CAPTIONS = ("caption.txt", "caption.json")
_SUFFIXES = (".png", ".jpg", ".jpeg")
"""Endings a frame of a synthetic scene leaves out."""
_UNREADABLE = "bad_transforms"


@register("sources", "captures")
@dataclass(frozen=True)
class Captures:
    """Scenes below `captures`, a path or fsspec URL.

    Of a scene with more than `max_views` frames, so many of them are taken at even distances; null takes all. `images`
    names the folder of pictures to prefer: images_4 reads little where the originals are large. `caption_key` names the
    text of a caption.json; without it the first by name is taken.
    """

    captures: str
    max_views: int | None = None
    images: str | None = None
    caption_key: str | None = None

    name: ClassVar[str] = "captures"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "scene"
    annotation_options: ClassVar[tuple[str, ...]] = ()
    provides: ClassVar[Mapping[str, Provides]] = {}

    def __post_init__(self) -> None:
        if self.max_views is not None and self.max_views < 2:
            raise ConfigError(
                f"max_views must be at least 2, got {self.max_views}. A scene is seen from several sides."
            )

    @cached_property
    def _tree(self) -> FileTree:
        fs, path = fsspec.url_to_fs(self.captures)
        return FileTree(fs, str(path).rstrip("/"))

    @cached_property
    def _passed(self) -> Counter[str]:
        return Counter()

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        return self._tree.root

    def listing(self) -> Iterator[pa.RecordBatch]:
        """Yield every scene as LISTING batches; raises ConfigError for a folder that cannot be read.

        A scene whose transforms.json cannot be read is planned, and fails.
        """
        self._passed.clear()
        yield from batched(self._items(), LISTING)

    def read(self, item: PlannedItem) -> SourceItem:
        """Return the views of a scene in order; a SampleError stands for one without a picture or a camera.

        Raises SampleError source_gone, source_changed or source_unreadable for transforms.json, bad_transforms for one
        that is none, bad_sidecar for a caption or licence that is none.
        """
        transforms = next(file for file in item.sidecars if posixpath.basename(file.uri) == TRANSFORMS)
        document = _document(transforms, self._tree.read(transforms))
        facts = self._facts(item)
        frames = self._frames(document)
        views = tuple(self._view(document, frame, file, facts) for frame, file in zip(frames, item.images, strict=True))
        return SourceItem(views)

    def annotations(self, item: PlannedItem) -> Mapping[str, Annotation | SampleError]:
        """Return nothing: captures bring no columns."""
        return {}

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files and folders the last listing left out, by the reason why."""
        return dict(self._passed)

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to a worker: the options."""
        return {option: getattr(self, option) for option in self.__dataclass_fields__}

    def _items(self) -> Iterator[tuple[Any, ...]]:
        """Yield scenes as rows of LISTING."""
        scenes, licences = self._scenes()
        for transforms in scenes:
            folder = posixpath.dirname(transforms.uri)
            beside = [transforms, *self._there(posixpath.join(folder, name) for name in _CAPTIONS)]
            licence = nearest_licence(licences, transforms.uri)
            beside += [licence] if licence is not None else []
            images = self._pictures(transforms, folder)
            yield folder or TRANSFORMS, [file.record() for file in images], [file.record() for file in beside]

    def _scenes(self) -> tuple[list[PlannedFile], dict[str, PlannedFile]]:
        """Return what says of scenes where their cameras stand, and the licences by folder."""
        tree = self._tree
        if not tree.fs.isdir(tree.base):
            raise ConfigError(
                f"source captures must exist, got {tree.base}. Paths in a recipe start from where you run onegen."
            )
        scenes, licences = [], {}
        try:
            for file in tree.walk(tree.base, self._passed):
                if posixpath.basename(file.uri) == TRANSFORMS:
                    scenes.append(file)
                elif is_licence(file.uri):
                    licences[os.path.dirname(file.uri)] = file
        except OSError as error:
            raise ConfigError(
                f"source captures must be readable, got {error.filename or tree.base}: {error.strerror or error}."
            ) from error
        return scenes, licences

    def _pictures(self, transforms: PlannedFile, folder: str) -> list[PlannedFile]:
        """Return the pictures of a scene's frames in order; its transforms.json alone where that cannot be read."""
        try:
            frames = self._frames(_document(transforms, self._tree.read(transforms)))
        except SampleError:
            return [transforms]
        places = self._places(folder)
        return [self._picture(folder, frame, places) for frame in frames]

    def _frames(self, document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Return the frames that are taken, in order."""
        frames: Sequence[Mapping[str, Any]] = document["frames"]
        if self.max_views is None or len(frames) <= self.max_views:
            return frames
        last = len(frames) - 1
        return [frames[round(last * step / (self.max_views - 1))] for step in range(self.max_views)]

    def _places(self, folder: str) -> tuple[str, ...]:
        """Return the folders of a scene that `images` may mean, best first: asked once a scene, not once a frame."""
        wanted = ([self.images] if self.images else []) + ["images", *SMALLER]
        there = [name for name in dict.fromkeys(wanted) if self._tree.fs.isdir(self._tree.path(f"{folder}/{name}"))]
        return tuple(there)

    def _picture(self, folder: str, frame: Mapping[str, Any], places: Sequence[str]) -> PlannedFile:
        """Return the picture of a frame; one that is nowhere is planned where it should be, and fails by its name."""
        path = str(frame.get("file_path", ""))
        head, _, tail = posixpath.normpath(path).partition("/")
        paths = [f"{place}/{tail}" for place in places] if head == "images" and tail else []
        for name in [*paths, path]:
            uri = posixpath.normpath(posixpath.join(folder, name))
            if uri.startswith(("../", "/")) or uri == "..":
                continue
            candidates = [uri] if uri.lower().endswith(_SUFFIXES) else [uri, *(uri + suffix for suffix in _SUFFIXES)]
            for file in self._there(candidates):
                return file
        return PlannedFile(posixpath.join(folder, path), 0, "mtime:none")

    def _there(self, uris: "Iterator[str] | Sequence[str]") -> Iterator[PlannedFile]:
        """Yield the files among these that are there."""
        for uri in uris:
            if self._tree.fs.isfile(self._tree.path(uri)):
                yield PlannedFile(uri, *self._tree.state(uri))

    def _view(
        self, document: Mapping[str, Any], frame: Mapping[str, Any], file: PlannedFile, facts: Mapping[str, str]
    ) -> SourceImage | SampleError:
        """Return one view, or why it has no camera or no picture."""
        try:
            (camera,) = from_nerfstudio({**document, "frames": [frame]}).values()
            if posixpath.normpath(file.uri).startswith(("../", "/")):
                raise SampleError("outside_root", f"frame must lie below {self.root}, got {file.uri[:300]}.")
            data = self._tree.read(file)
        except ConfigError as error:
            return SampleError("bad_camera", str(error))
        except SampleError as error:
            return error
        licence, attribution = facts.get("licence"), facts.get("attribution")
        return SourceImage(data, facts.get("caption"), licence, attribution, uri=file.uri, camera=to_record(camera))

    def _facts(self, item: PlannedItem) -> dict[str, str]:
        """Return caption, licence and attribution of a scene, as far as files state them."""
        facts: dict[str, str] = {}
        for file in item.sidecars:
            name = posixpath.basename(file.uri)
            if name == "caption.json":
                facts |= self._caption(file)
            elif name != TRANSFORMS:
                facts |= stated_facts(file.uri, self._tree.read(file))
        return facts

    def _caption(self, file: PlannedFile) -> dict[str, str]:
        texts = {k: v for k, v in sorted(sidecar_object(file.uri, self._tree.read(file)).items()) if isinstance(v, str)}
        if self.caption_key is not None and self.caption_key not in texts:
            return {}
        chosen = texts.get(self.caption_key) if self.caption_key else next(iter(texts.values()), None)
        return {"caption": chosen} if chosen and chosen.strip() else {}


def _document(file: PlannedFile, data: bytes) -> Mapping[str, Any]:
    """Return a transforms.json with frames that are objects; raises SampleError bad_transforms."""
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SampleError(_UNREADABLE, f"{file.uri} must be JSON: {error}. Mend it, then `onegen retry`.") from error
    frames = document.get("frames") if isinstance(document, Mapping) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, Mapping) for frame in frames):
        raise SampleError(
            _UNREADABLE, f"{file.uri} must have frames, each an object with file_path and transform_matrix. Mend it."
        )
    return document
