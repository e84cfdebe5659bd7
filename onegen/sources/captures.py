"""Scenes that were captured: pictures with the camera of each, in any of the layouts people publish them in.

    {captures: ./dl3dv}         # ./dl3dv/1K/<scene>/transforms.json, images/frame_00001.png ..., caption.json

What lies below the root says which layout it is: a `transforms.json` (nerfstudio, instant-ngp, DL3DV), a model of
COLMAP, `frame_annotations.jgz` of CO3D, JSON a view of G-Objaverse, `.npy` a view of GSO30. Frames, in their layout's
order, are the views. A bent lens is made straight when images are made. Depth and masks can be brought along.
A caption of the scene stands in `caption.txt`, or in `caption.json` as an object of texts; LICENCE files are as in the
source `folder`. docs/scenes.md.
"""

import posixpath
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import fsspec
import numpy as np
import pyarrow as pa

from onegen.config.bring import BRING, BringEntry
from onegen.config.registry import register
from onegen.errors import ConfigError, SampleError
from onegen.geometry import lens as lenses
from onegen.geometry.cameras import Camera, to_record
from onegen.geometry.lens import Lens, straighten
from onegen.pixels.upright import open_header, orientation_of
from onegen.sample import Annotation, Kind, Provides, SourceImage, SourceItem
from onegen.scenes.captures.frames import Documents, Shot
from onegen.scenes.checks import coverage, is_inward
from onegen.shards.plan import LISTING, PlannedFile, PlannedItem
from onegen.sources.reading.arrays import npy_of, png_of, stored_numbers
from onegen.sources.reading.beside import is_licence, stated_facts
from onegen.sources.reading.captions import read_captions
from onegen.sources.reading.found_scenes import FoundScenes
from onegen.sources.reading.layouts import LAYOUTS, Layout
from onegen.sources.reading.maps import MASK, BringsMaps
from onegen.sources.reading.places import path_of, uri_of, within
from onegen.sources.reading.sidecar import sidecar_object
from onegen.sources.reading.tree import FileTree
from onegen.storage.spill import batched

CAPTURE = "capture"
"""Column that says what the cameras of a scene are like."""
_PROVIDES = {
    CAPTURE: Provides(
        fields={
            "format": pa.string(),
            "num_frames": pa.int32(),
            "num_refused": pa.int32(),
            "coverage": pa.float64(),
            "inward": pa.bool_(),
            "quality": pa.float64(),
        }
    )
}
_SURE = 127
"""Value above which a pixel of a mask, a chance or a cover of 0 to 255, is of the subject."""


@register("sources", "captures")
@dataclass(frozen=True)
class Captures(BringsMaps):
    """Scenes below `captures`, a path or fsspec URL.

    `format` takes one layout alone; null takes what lies there. Of a scene with more than `max_views` frames with a
    sound camera, so many of them are taken at even distances; null takes all. `images` names the folder of pictures to
    prefer: images_4 reads little where the originals are large. `distortion` of a lens is undone, or its frames are
    refused, or kept as if the lens were straight. `captions` names a table of captions by scene (its id, or the last
    part of that), `caption_key` the text of a caption.json; without it the first by name is taken.
    """

    captures: str
    format: Literal["nerfstudio", "colmap", "co3d", "gobjaverse", "gso30"] | None = None
    max_views: int | None = None
    images: str | None = None
    distortion: Literal["undo", "refuse", "keep"] = "undo"
    captions: str | None = None
    caption_key: str | None = None
    bring: Mapping[str, Any] = field(default_factory=dict)

    name: ClassVar[str] = "captures"
    version: ClassVar[int] = 2
    kind: ClassVar[Kind] = "scene"
    annotation_options: ClassVar[tuple[str, ...]] = (BRING,)
    provides: ClassVar[Mapping[str, Provides]] = _PROVIDES
    has_maps: ClassVar[str] = "a capture"

    def __post_init__(self) -> None:
        if self.max_views is not None and self.max_views < 2:
            raise ConfigError(
                f"max_views must be at least 2, got {self.max_views}. A scene is seen from several sides."
            )

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        return self._tree.root

    def listing(self) -> Iterator[pa.RecordBatch]:
        """Yield every scene as LISTING batches; raises ConfigError for a folder that cannot be read.

        A scene whose cameras cannot be read is planned, and fails.
        """
        self._found.passed.clear()
        yield from batched(self._found.rows(), LISTING)

    def read(self, item: PlannedItem) -> SourceItem:
        """Return the views of a scene in order; a SampleError stands for one without a picture or a camera.

        Raises SampleError source_gone, source_changed or source_unreadable for the files of cameras, unreadable_cameras
        for one that is none, bad_sidecar for a caption or licence that is none.
        """
        scene = self._scene(item)
        facts = self._facts(item)
        views = zip(scene.shots, item.images, strict=True)
        return SourceItem(tuple(self._view(scene.base, shot, file, facts) for shot, file in views))

    def annotations(self, item: PlannedItem) -> Mapping[str, Annotation | SampleError]:
        """Return what the cameras of a scene are like; raises SampleError as `read` does of their files."""
        scene = self._scene(item)
        poses = [Camera(shot.camera_to_world) for shot in scene.shots if shot.camera_to_world is not None]
        values = {
            "format": scene.layout.name,
            "num_frames": len(scene.shots),
            "num_refused": len(scene.shots) - len(poses),
            "coverage": round(coverage(poses), 3),
            "inward": is_inward(poses) if poses else None,
            "quality": scene.layout.quality(item.item, scene.documents),
        }
        return {CAPTURE: Annotation(values)}

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files and folders the last listing left out, by the reason why."""
        return dict(+self._found.passed)

    def brought(self, item: PlannedItem, entry: BringEntry, is_file: bool) -> tuple[Any, ...]:
        """Return a map a view, as bytes, None where there is none: distances, 0 unknown, of numpy; the mask as PNG.

        A picture's own alpha is its mask where no file is. Maps are made straight as their pictures are.
        """
        scene, beside = self._scene(item), {file.uri: file for file in item.sidecars}
        read = self._mask if entry.places[0] == MASK else self._depth
        views = zip(scene.shots, item.images, strict=True)
        return tuple(None if shot.fault else read(scene, shot, file, beside) for shot, file in views)

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to a worker: the options."""
        return {option: getattr(self, option) for option in self.__dataclass_fields__}

    @cached_property
    def _tree(self) -> FileTree:
        fs, path = fsspec.url_to_fs(self.captures)
        return FileTree(fs, str(path).rstrip("/"))

    @cached_property
    def _found(self) -> FoundScenes:
        return FoundScenes(self._tree, self._layouts, self.max_views, self.images)

    @cached_property
    def _captions(self) -> Mapping[str, str]:
        return read_captions(self.captions)

    @cached_property
    def _layouts(self) -> Sequence[Layout]:
        return [LAYOUTS[self.format]] if self.format else list(LAYOUTS.values())

    def _scene(self, item: PlannedItem) -> "_Scene":
        """Return what the documents of an item say, with the shot of each picture that the plan has of it."""
        layout = next((one for one in self._layouts if any(one.is_document(file.uri) for file in item.sidecars)), None)
        if layout is None:
            raise SampleError("unreadable_cameras", f"{item.item} must have cameras, and the plan names none.")
        files = [file for file in item.sidecars if layout.is_document(file.uri)]
        base = layout.base(files[0].uri)
        documents = {path_of(base, file.uri): self._tree.read(file) for file in files}
        there = [path_of(base, file.uri) for file in (*item.images, *item.sidecars)]
        by_uri: dict[str, list[Shot]] = defaultdict(list)
        for shot in layout.shots(item.item, documents, there, self.images):
            for name in shot.pictures or (shot.name,):
                by_uri[uri_of(base, name)].append(shot)
        if not by_uri:
            raise SampleError("unreadable_cameras", f"cameras of {item.item} must have frames, got none.")
        shots = []
        for file in item.images:
            same = by_uri.get(file.uri)
            if same is None:
                raise SampleError(
                    "source_changed",
                    f"cameras of {item.item} must be of the pictures that were planned, got none of {file.uri}. Build "
                    f"into another OUT, which plans them anew.",
                )
            # A frame that is described twice comes twice: the second time with its fault.
            shots.append(same.pop(0) if len(same) > 1 else same[0])
        return _Scene(layout, base, documents, shots)

    def _view(self, base: str, shot: Shot, file: PlannedFile, facts: Mapping[str, str]) -> SourceImage | SampleError:
        """Return one view, or why it has no camera or no picture."""
        try:
            if shot.fault is not None:
                raise shot.fault
            if all(within(base, name) is None for name in shot.pictures):
                raise SampleError("unsafe_path", f"picture must lie in its scene, got {shot.name[:200]!r}.")
            data = self._tree.read(file)
            camera, lens = self._camera(shot, data)
        except SampleError as error:
            return error
        return SourceImage(
            data,
            facts.get("caption"),
            facts.get("licence"),
            facts.get("attribution"),
            uri=file.uri,
            camera=to_record(camera),
            lens=lenses.to_record(lens) if self._is_undone(lens) else None,
        )

    def _camera(self, shot: Shot, picture: bytes) -> tuple[Camera, Lens]:
        """Return the camera of a view as it is stored, and its lens; raises SampleError."""
        (height, width), orientation = orientation_of(open_header(picture))
        camera, lens = shot.camera((height, width) if orientation >= 5 else (width, height))
        if not lens.is_straight and self.distortion == "refuse":
            raise SampleError(
                "unsupported_lens", f"lens must be straight, as distortion: refuse asks, got that of {shot.name}."
            )
        if not lens.is_straight and self.distortion == "keep":
            side = min(lens.width, lens.height)
            camera = Camera(camera.camera_to_world, (lens.fx / side, lens.fy / side))
        return camera, lens

    def _is_undone(self, lens: Lens) -> bool:
        return self.distortion == "undo" and not lens.is_straight

    def _depth(self, scene: "_Scene", shot: Shot, file: PlannedFile, beside: Mapping[str, PlannedFile]) -> bytes | None:
        data = self._map(scene.base, shot.depth, beside)
        if data is None:
            return None
        return npy_of(self._straight(scene.layout.depth(stored_numbers(str(shot.depth), data), shot), shot))

    def _mask(self, scene: "_Scene", shot: Shot, file: PlannedFile, beside: Mapping[str, PlannedFile]) -> bytes | None:
        data = self._map(scene.base, shot.mask, beside)
        numbers = stored_numbers(file.uri, data if data is not None else self._tree.read(file))
        if data is None:
            if numbers.ndim != 3 or numbers.shape[2] != 4:
                return None
            numbers = numbers[:, :, 3]
        elif numbers.ndim == 3:
            numbers = numbers[:, :, 0]
        return png_of(self._straight((numbers > _SURE).astype(np.uint8), shot))

    def _map(self, base: str, path: str | None, beside: Mapping[str, PlannedFile]) -> bytes | None:
        """Return a map that lies beside a picture, None where the cameras name none."""
        if path is None:
            return None
        uri = within(base, path)
        if uri is None or uri not in beside:
            raise SampleError(
                "source_gone", f"map {path[:200]!r} must be in its scene, as the cameras say, and is not."
            )
        return self._tree.read(beside[uri])

    def _straight(self, numbers: np.ndarray, shot: Shot) -> np.ndarray:
        """Return a map made straight as its picture is."""
        _, lens = shot.camera((numbers.shape[1], numbers.shape[0]))
        return straighten(numbers, lens, is_map=True) if self._is_undone(lens) else numbers

    def _facts(self, item: PlannedItem) -> dict[str, str]:
        """Return caption, licence and attribution of a scene, as far as they are known."""
        facts: dict[str, str] = {}
        for file in item.sidecars:
            name = posixpath.basename(file.uri)
            if name == "caption.json":
                facts |= self._caption(file)
            elif name == "caption.txt" or is_licence(file.uri):
                facts |= stated_facts(file.uri, self._tree.read(file))
        told = self._captions.get(item.item) or self._captions.get(posixpath.basename(item.item))
        return {**({"caption": told} if told else {}), **facts}

    def _caption(self, file: PlannedFile) -> dict[str, str]:
        texts = {k: v for k, v in sorted(sidecar_object(file.uri, self._tree.read(file)).items()) if isinstance(v, str)}
        if self.caption_key is not None and self.caption_key not in texts:
            return {}
        chosen = texts.get(self.caption_key) if self.caption_key else next(iter(texts.values()), None)
        return {"caption": chosen} if chosen and chosen.strip() else {}


@dataclass(frozen=True, slots=True)
class _Scene:
    """What was read of an item: `shots` are those of its planned pictures, in order, paths start from `base`."""

    layout: Layout
    base: str
    documents: Documents
    shots: Sequence[Shot]
