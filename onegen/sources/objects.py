"""Scenes of objects: mesh files, seen from cameras around them. The views are drawn when the images are made.

    {objects: ./glbs, rig: ring, views: 8, size: 512}

Every GLB, glTF, OBJ or PLY below the root is a scene, with the cameras of a rig (`onegen.geometry.rigs`), colour over
white. Depth and mask of each view can be brought along: `bring: {depth: {from: depth, near: dark}, masks: mask}`. A
caption stands beside an object (`chair.txt`), in a table like Cap3D's (`captions: cap3d.csv`: file stem, caption, no
header), or is composed of its name. docs/scenes.md.
"""

import importlib.util
import os
import posixpath
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import fsspec
import numpy as np
import pyarrow as pa

from onegen.config.bring import BRING, BringEntry, bring_entries
from onegen.config.registry import register
from onegen.errors import ConfigError, SampleError
from onegen.geometry.cameras import to_record
from onegen.geometry.rigs import Rig, make_rig
from onegen.sample import Annotation, Kind, Provides, SourceImage, SourceItem
from onegen.shards.key import seed_of
from onegen.shards.plan import LISTING, PlannedFile, PlannedItem
from onegen.sources.reading.arrays import npy_of, png_of
from onegen.sources.reading.beside import is_licence, nearest_licence, stated_facts
from onegen.sources.reading.captions import read_captions
from onegen.sources.reading.tree import FileTree
from onegen.storage.spill import batched

if TYPE_CHECKING:
    from onegen.scenes.renderers import Renderer
    from onegen.scenes.scene import RenderOptions, Scene, View

FORMATS = (".glb", ".gltf", ".obj", ".ply")
DEPTH, MASK = "depth", "mask"
"""Places of what can be brought along: the distance of each pixel along the optical axis, and 1 where the object is."""
RENDER = "render"
"""Column that says how the views of an object were made, and what is odd about it."""
_PROVIDES = {
    RENDER: Provides(
        fields={
            "backend": pa.string(),
            "backend_version": pa.string(),
            "samples": pa.int32(),
            "lighting": pa.string(),
            "rig": pa.string(),
            "scale": pa.float64(),
            "num_faces": pa.int64(),
            "flags": pa.list_(pa.string()),
            "ignored": pa.list_(pa.string()),
        }
    )
}
_BLANK = 0.005
"""Share of a view that an object must cover."""
_FAST, _MOST_KEPT = 1, 64
"""How hard maps are packed while they wait, and of how many objects; a batch has fewer."""
_WORDS = re.compile(r"[\W_]+")


@register("sources", "objects")
@dataclass(frozen=True)
class Objects:
    """Mesh files below `objects`, a path or fsspec URL, drawn from `views` cameras of a `rig`.

    `azimuth`, `elevation` (degrees) and `distance` (of an object in the unit sphere) change the rig: a number, or a
    range [low, high]. `size` is the side of a view in pixels, `samples` those of a pixel, `up` the axis that is up in
    OBJ and PLY files. Objects with more than `max_faces` faces fail. `captions` names a table of captions.
    """

    objects: str
    rig: str = "ring"
    views: int | None = None
    azimuth: float | tuple[float, float] | None = None
    elevation: float | tuple[float, float] | None = None
    distance: float | tuple[float, float] | None = None
    size: int = 512
    samples: int = 4
    lighting: str = "studio"
    backend: Literal["embree", "blender"] = "embree"
    up: Literal["y", "z"] = "y"
    max_faces: int = 5_000_000
    captions: str | None = None
    bring: Mapping[str, Any] = field(default_factory=dict)

    name: ClassVar[str] = "objects"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "scene"
    annotation_options: ClassVar[tuple[str, ...]] = (BRING,)
    provides: ClassVar[Mapping[str, Provides]] = _PROVIDES

    def __post_init__(self) -> None:
        if self._rig.views < 2:
            raise ConfigError(f"views must be at least 2, got {self._rig.views}. A scene is seen from several sides.")
        if not 32 <= self.size <= 4096:
            raise ConfigError(f"size must be 32 to 4096 pixels, got {self.size}. OneDiffusion trains on 512.")
        for package in ("trimesh", *(["embreex"] if self.backend == "embree" else [])):
            if importlib.util.find_spec(package) is None:
                raise ConfigError(f"objects need {package}. Install it with: pip install 'onegen[scenes]'.")

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        return self._tree.root

    def listing(self) -> Iterator[pa.RecordBatch]:
        """Yield every object as LISTING batches, its file once a view; raises ConfigError for no such folder."""
        self._passed.clear()
        yield from batched(self._items(), LISTING)

    def read(self, item: PlannedItem) -> SourceItem:
        """Return the views of an object; a SampleError stands for one that shows nothing of it.

        Raises SampleError source_gone, source_changed or source_unreadable, what reading a mesh raises
        (docs/scenes.md), and bad_sidecar.
        """
        facts = {"caption": self._caption(item.item)} | self._facts(item)
        views: list[SourceImage | SampleError] = []
        for view in self._rendered(item, self._scene(item), self._options):
            if (view.mask > 0).mean() < _BLANK:
                views.append(SampleError("blank_view", f"{item.item} must be seen, and covers nothing of a view."))
                continue
            data, camera = png_of(view.colour), to_record(view.camera)
            licence, attribution = facts.get("licence"), facts.get("attribution")
            image = SourceImage(data, facts["caption"], licence, attribution, uri=item.images[0].uri, camera=camera)
            views.append(image)
        return SourceItem(tuple(views))

    def annotations(self, item: PlannedItem) -> Mapping[str, Annotation | SampleError]:
        """Return how an object's views are made; raises SampleError as `read` does of its file."""
        from onegen.scenes.scene import describe

        scene, renderer = self._scene(item), self._renderer
        if self.entries:
            # What is brought is asked for column by column: the object is read and drawn once for all of them.
            self._keep(item, self._maps(item, scene))
        said = describe(scene, self.backend, getattr(renderer, "version", ""), self._options)
        names = set(_PROVIDES[RENDER].fields)
        return {RENDER: Annotation({"rig": self.rig, **{name: said[name] for name in names & set(said)}})}

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files and folders the last listing left out, by the reason why."""
        return dict(self._passed)

    @cached_property
    def entries(self) -> Mapping[str, BringEntry]:
        """What the recipe brings along, by column; raises ConfigError for an entry that is none."""
        return bring_entries(self.bring)

    def check_brought(self) -> None:
        """Raise ConfigError for what a render does not give."""
        for entry in self.entries.values():
            if entry.places[0] not in (DEPTH, MASK):
                raise ConfigError(
                    f"bring.{entry.column}.from must be {DEPTH} or {MASK} of a render, got {entry.places[0]!r}. Write "
                    f"{entry.column}: {{from: {DEPTH}, near: dark}}."
                )

    def brought(self, item: PlannedItem, entry: BringEntry, is_file: bool) -> tuple[Any, ...]:
        """Return a map a view, as bytes: distances as an array of numpy, 0 where nothing is; the mask as PNG."""
        place, name = entry.places[0], (item.item, item.images[0].etag)
        kept = self._kept.get(name, {})
        if place not in kept:
            kept = self._maps(item, self._scene(item))
            self._keep(item, kept)
        maps = kept[place]
        if sum(other.places[0] == place for other in self.entries.values()) == 1:
            del kept[place]  # it is not asked for again
        return tuple(zlib.decompress(data) for data in maps)

    def _maps(self, item: PlannedItem, scene: "Scene") -> dict[str, list[bytes]]:
        """Return what can be brought of an object by its place, a map a view, packed."""
        wanted = {entry.places[0] for entry in self.entries.values()}
        maps: dict[str, list[bytes]] = {place: [] for place in wanted}
        for view in self._rendered(item, scene, replace(self._options, samples=1)):
            if MASK in wanted:
                maps[MASK].append(zlib.compress(png_of((view.mask > 0).astype(np.uint8)), _FAST))
            if DEPTH in wanted:
                maps[DEPTH].append(zlib.compress(npy_of(view.depth), _FAST))
        return maps

    def _keep(self, item: PlannedItem, maps: dict[str, list[bytes]]) -> None:
        self._kept[item.item, item.images[0].etag] = maps
        for name in list(self._kept)[:-_MOST_KEPT]:
            self._kept.pop(name, None)

    @cached_property
    def _kept(self) -> dict[tuple[str, str | None], dict[str, list[bytes]]]:
        """Maps that were drawn and not asked for yet, by object."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to a worker: the options; no renderer does."""
        return {option: getattr(self, option) for option in self.__dataclass_fields__}

    @cached_property
    def _tree(self) -> FileTree:
        fs, path = fsspec.url_to_fs(self.objects)
        return FileTree(fs, str(path).rstrip("/"))

    @cached_property
    def _passed(self) -> Counter[str]:
        return Counter()

    @cached_property
    def _rig(self) -> Rig:
        names = ("views", "azimuth", "elevation", "distance")
        return make_rig(self.rig, {name: value for name in names if (value := getattr(self, name)) is not None})

    @cached_property
    def _options(self) -> "RenderOptions":
        from onegen.scenes.scene import RenderOptions

        return RenderOptions(self.size, self.size, self.samples, self.lighting)

    @cached_property
    def _renderer(self) -> "Renderer":
        from onegen.scenes.renderers import make_renderer

        return make_renderer(self.backend)

    def _rendered(self, item: PlannedItem, scene: "Scene", options: "RenderOptions") -> "Iterator[View]":
        # Drawn by the name of the object, so that each is seen from its own places, the same ones in every run.
        cameras = self._rig.cameras(seed_of(item.item, self.rig, self.version))
        yield from self._renderer.render(scene, cameras, options)

    def _scene(self, item: PlannedItem) -> "Scene":
        """Return the object of an item, normalised; raises SampleError."""
        from onegen.scenes.mesh import normalise
        from onegen.scenes.reading import load_mesh, up_axis
        from onegen.scenes.scene import Scene

        file = item.images[0]
        path = Path(self._tree.path(file.uri))
        # Files that an object names stand beside it; of a remote one they are not read.
        folder = path.parent if self._tree.is_local else None
        mesh = load_mesh(self._tree.read(file), path.suffix, folder, self.max_faces)
        placed, placement = normalise(mesh, up_axis(path.suffix, self.up))
        return Scene(placed, placement, path)

    def _items(self) -> Iterator[tuple[Any, ...]]:
        """Yield objects as rows of LISTING."""
        meshes, texts, licences = self._files()
        count = len(self._rig.cameras(0))
        for file in meshes:
            stem = os.path.splitext(file.uri)[0]
            beside = [texts[name] for name in (f"{stem}.txt", f"{stem}.json") if name in texts]
            licence = nearest_licence(licences, file.uri)
            beside += [licence] if licence is not None else []
            yield file.uri, [file.record()] * count, [one.record() for one in beside]

    def _files(self) -> tuple[list[PlannedFile], dict[str, PlannedFile], dict[str, PlannedFile]]:
        """Return the mesh files, the texts by uri, and the licences by folder."""
        tree = self._tree
        if not tree.fs.isdir(tree.base):
            raise ConfigError(
                f"source objects must exist, got {tree.base}. Paths in a recipe start from where you run onegen."
            )
        meshes: list[PlannedFile] = []
        texts: dict[str, PlannedFile] = {}
        licences: dict[str, PlannedFile] = {}
        for file in tree.walk(tree.base, self._passed):
            name = file.uri.lower()
            if name.endswith(FORMATS):
                meshes.append(file)
            elif is_licence(file.uri):
                licences[os.path.dirname(file.uri)] = file
            elif name.endswith((".txt", ".json")):
                texts[file.uri] = file
        return meshes, texts, licences

    def _facts(self, item: PlannedItem) -> dict[str, str]:
        facts: dict[str, str] = {}
        for file in sorted(item.sidecars, key=lambda file: not is_licence(file.uri)):
            facts |= stated_facts(file.uri, self._tree.read(file))
        return facts

    def _caption(self, item: str) -> str:
        """Return the caption of the table, or one composed of the object's name."""
        stem = posixpath.splitext(posixpath.basename(item))[0]
        words = " ".join(_WORDS.split(stem)).strip()
        return self._captions.get(stem) or f"A 3D model called {words or 'object'}."

    @cached_property
    def _captions(self) -> Mapping[str, str]:
        """The captions of the table, by file stem; raises ConfigError where it cannot be read."""
        return read_captions(self.captions)
