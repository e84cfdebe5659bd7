"""Scenes of objects: mesh files, seen from cameras around them. The views are drawn when the images are made.

    {objects: ./glbs, rig: ring, views: 8, size: 512}

Every GLB, glTF, OBJ or PLY below the root is a scene, with the cameras of a rig (`onegen.geometry.rigs`), colour over
white. Depth and mask of each view can be brought along: `bring: {depth: {from: depth, near: dark}, masks: mask}`. A
caption stands beside an object (`chair.txt`), in a table like Cap3D's (`captions: cap3d.csv`: file stem, caption, no
header), or is composed of its name. Or a list in Parquet has an object a row:

    {objects: ./list.parquet, mesh: path, caption: caption, licence: licence}

docs/scenes.md.
"""

import importlib.util
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import fsspec
import numpy as np
import pyarrow as pa

from onegen.config.bring import BRING, BringEntry
from onegen.config.registry import register
from onegen.errors import ConfigError, SampleError
from onegen.geometry.cameras import Camera, to_record
from onegen.geometry.rigs import Rig, make_rig
from onegen.sample import Annotation, Kind, Provides, SourceImage, SourceItem
from onegen.shards.key import seed_of
from onegen.shards.plan import PlannedItem
from onegen.sources.reading.arrays import npy_of, png_of
from onegen.sources.reading.captions import read_captions
from onegen.sources.reading.maps import DEPTH, MASK, BringsMaps
from onegen.sources.reading.meshes import Meshes, MeshFile, MeshFolder, MeshList
from onegen.sources.reading.table import Table
from onegen.sources.reading.tree import FileTree

if TYPE_CHECKING:
    from onegen.scenes.renderers import Renderer
    from onegen.scenes.scene import RenderOptions, Scene

_TABLES = (".parquet", ".pq")
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
            "num_cropped": pa.int32(),
            "flags": pa.list_(pa.string()),
            "ignored": pa.list_(pa.string()),
        }
    )
}
_FAST, _MOST_KEPT = 1, 64
"""How hard maps are packed while they wait, and of how many objects; a batch has fewer."""
_WORDS = re.compile(r"[\W_]+")


@register("sources", "objects")
@dataclass(frozen=True)
class Objects(BringsMaps):
    """Mesh files below `objects`, a path or fsspec URL, or of a list in Parquet, drawn from `views` cameras of a `rig`.

    `azimuth`, `elevation` (degrees) and `distance` (of an object in the unit sphere) change the rig: a number, or a
    range [low, high]. `size` is the side of a view in pixels, `samples` those of a pixel, `up` the axis that is up in
    OBJ and PLY files. Objects with more than `max_faces` faces fail. `captions` names a table of captions. `program`
    starts the backend blender. Of a list `mesh` names the column of paths or bytes, and `caption`, `licence` and
    `attribution` further ones; paths start from the list's folder or `image_root`.
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
    program: str = "blender"
    up: Literal["y", "z"] = "y"
    max_faces: int = 5_000_000
    captions: str | None = None
    mesh: str = "mesh"
    caption: str | None = None
    licence: str | None = None
    attribution: str | None = None
    image_root: str | None = None
    bring: Mapping[str, Any] = field(default_factory=dict)

    name: ClassVar[str] = "objects"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "scene"
    annotation_options: ClassVar[tuple[str, ...]] = (BRING,)
    provides: ClassVar[Mapping[str, Provides]] = _PROVIDES
    has_maps: ClassVar[str] = "a render"

    def __post_init__(self) -> None:
        if self._rig.views < 2:
            raise ConfigError(f"views must be at least 2, got {self._rig.views}. A scene is seen from several sides.")
        if not 32 <= self.size <= 4096:
            raise ConfigError(f"size must be 32 to 4096 pixels, got {self.size}. OneDiffusion trains on 512.")
        for package in ("trimesh", *(["embreex"] if self.backend == "embree" else [])):
            if importlib.util.find_spec(package) is None:
                raise ConfigError(f"objects need {package}. Install it with: pip install 'onegen[scenes]'.")
        if self.backend == "blender" and shutil.which(self.program) is None:
            raise ConfigError(
                f"program must start Blender, and {self.program!r} is not a program here. Install Blender, or name the "
                f"python of an environment that has bpy."
            )
        columns = [name for name in ("caption", "licence", "attribution", "image_root") if getattr(self, name)]
        if columns and not self._is_list:
            raise ConfigError(
                f"{columns[0]} must stand beside a list, got it with the folder {self.objects}, whose captions and "
                f"licences stand beside the meshes. Leave it out."
            )

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        return self._meshes.root

    def listing(self) -> Iterator[pa.RecordBatch]:
        """Yield every object as LISTING batches, its file once a view; raises ConfigError for no such folder."""
        yield from self._meshes.listing(len(self._rig.cameras(0)))

    def read(self, item: PlannedItem) -> SourceItem:
        """Return the views of an object; a SampleError stands for one that shows nothing of it.

        Raises SampleError source_gone, source_changed or source_unreadable, what reading a mesh raises
        (docs/scenes.md), and bad_sidecar.
        """
        from onegen.scenes.checks import BLANK

        mesh = self._meshes.mesh(item)
        facts = {"caption": self._caption(mesh.path.stem), **self._meshes.facts(item)}
        views: list[SourceImage | SampleError] = []
        for view in self._renderer.render(self._scene(mesh), self._cameras(item), self._options):
            if (view.mask > 0).mean() < BLANK:
                views.append(SampleError("blank_view", f"{item.item} must be seen, and covers nothing of a view."))
                continue
            data, camera = png_of(view.colour), to_record(view.camera)
            licence, attribution = facts.get("licence"), facts.get("attribution")
            image = SourceImage(data, facts["caption"], licence, attribution, uri=item.images[0].uri, camera=camera)
            views.append(image)
        return SourceItem(tuple(views))

    def annotations(self, item: PlannedItem) -> Mapping[str, Annotation | SampleError]:
        """Return how an object's views are made; raises SampleError as `read` does of its file."""
        from onegen.scenes.checks import num_cropped
        from onegen.scenes.scene import describe

        scene, renderer = self._scene(self._meshes.mesh(item)), self._renderer
        if self.entries:
            # What is brought is asked for column by column: the object is read and drawn once for all of them.
            self._keep(item, self._maps(item, scene))
        said = describe(scene, self.backend, renderer.version, self._options)
        cropped = num_cropped(scene.mesh, self._cameras(item), self.size, self.size)
        flags = sorted({*said["flags"], *(["cropped"] if cropped else [])})
        told = {**said, "rig": self.rig, "flags": flags, "num_cropped": cropped}
        return {RENDER: Annotation({name: told[name] for name in _PROVIDES[RENDER].fields})}

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files and folders the last listing left out, by the reason why."""
        return self._meshes.passed_over()

    def brought(self, item: PlannedItem, entry: BringEntry, is_file: bool) -> tuple[Any, ...]:
        """Return a map a view, as bytes: distances as an array of numpy, 0 where nothing is; the mask as PNG."""
        place, name = entry.places[0], (item.item, item.images[0].etag)
        kept = self._kept.get(name, {})
        if place not in kept:
            kept = self._maps(item, self._scene(self._meshes.mesh(item)))
            self._keep(item, kept)
        maps = kept[place]
        if sum(other.places[0] == place for other in self.entries.values()) == 1:
            del kept[place]  # it is not asked for again
        return tuple(zlib.decompress(data) for data in maps)

    def _maps(self, item: PlannedItem, scene: "Scene") -> dict[str, list[bytes]]:
        """Return what can be brought of an object by its place, a map a view, packed."""
        wanted = {entry.places[0] for entry in self.entries.values()}
        maps: dict[str, list[bytes]] = {place: [] for place in wanted}
        options = replace(self._options, samples=1, has_colour=False)
        for view in self._renderer.render(scene, self._cameras(item), options):
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

    @property
    def _is_list(self) -> bool:
        return self.objects.lower().endswith(_TABLES)

    @cached_property
    def _meshes(self) -> Meshes:
        if not self._is_list:
            fs, path = fsspec.url_to_fs(self.objects)
            return MeshFolder(FileTree(fs, str(path).rstrip("/")))
        texts = {name: getattr(self, name) for name in ("caption", "licence", "attribution")}
        return MeshList(
            Table("source objects", self.objects, {"mesh": self.mesh}, texts=texts, image_root=self.image_root)
        )

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

        return make_renderer(self.backend, **({"program": self.program} if self.backend == "blender" else {}))

    def _cameras(self, item: PlannedItem) -> Sequence[Camera]:
        # Drawn by the name of the object, so that each is seen from its own places, the same ones in every run.
        return self._rig.cameras(seed_of(item.item, self.rig, self.version))

    def _scene(self, mesh: MeshFile) -> "Scene":
        """Return the object in a file, normalised; raises SampleError."""
        from onegen.scenes.mesh import normalise
        from onegen.scenes.reading import load_mesh, up_axis
        from onegen.scenes.scene import Scene

        read = load_mesh(mesh.data, mesh.path.suffix, mesh.folder, self.max_faces)
        placed, placement = normalise(read, up_axis(mesh.path.suffix, self.up))
        return Scene(placed, placement, mesh.path)

    def _caption(self, stem: str) -> str:
        """Return the caption of the table, or one composed of the object's name."""
        words = " ".join(_WORDS.split(stem)).strip()
        return self._captions.get(stem) or f"A 3D model called {words or 'object'}."

    @cached_property
    def _captions(self) -> Mapping[str, str]:
        """The captions of the table, by file stem; raises ConfigError where it cannot be read."""
        return read_captions(self.captions)
