"""Hypersim (arXiv 2011.02523) as it is published: tonemapped pictures of rooms, and exact depth beside them.

A scene's picture is `SCENE/images/scene_CAM_final_preview/frame.NNNN.tonemap.jpg`, whose bytes are kept; its depth is
`SCENE/images/scene_CAM_geometry_hdf5/frame.NNNN.depth_meters.hdf5`, which holds distances from the eye along each
pixel's ray in metres. They become planar depth, the distance along the camera's axis, and the column `depth`.
"""

import csv
import importlib.util
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import fsspec
import numpy as np
import pyarrow as pa

from onegen.config.bring import BRING, BringEntry, bring_entries
from onegen.config.registry import register
from onegen.errors import ConfigError, SampleError
from onegen.sample import Annotation, Kind, Provides, SourceImage, SourceItem
from onegen.shards.plan import LISTING, PlannedFile, PlannedItem
from onegen.sources.reading.looking import Looks
from onegen.sources.reading.tree import FileTree
from onegen.storage.spill import BATCH_ROWS, Spill

DISTANCE = "depth_meters.hdf5"
"""The one place that `bring` may name here."""
_PICTURE = re.compile(r"(?:.*/)?(?P<scene>[^/]+)/images/scene_(?P<cam>[^/]+)_final_preview/frame\.(\d+)\.tonemap\.jpg")
_DEPTH = re.compile(r"(?:.*/)?[^/]+/images/scene_[^/]+_geometry_hdf5/frame\.\d+\.depth_meters\.hdf5")
_FILES = pa.schema([("frame", pa.string()), ("is_image", pa.bool_()), ("uri", pa.string()), ("size", pa.int64())])
_FILES = _FILES.append(pa.field("etag", pa.string()))
_PAIRED = """
SELECT image.uri AS item, [{'uri': image.uri, 'size': image.size, 'etag': image.etag}] AS images,
       CASE WHEN depth.uri IS NULL THEN [] ELSE [{'uri': depth.uri, 'size': depth.size, 'etag': depth.etag}] END
           AS sidecars
FROM files AS image LEFT JOIN files AS depth ON depth.frame = image.frame AND NOT depth.is_image
WHERE image.is_image
"""
_TAN_HALF_WIDTH = float(np.tan(np.pi / 6))
"""Most scenes are seen at 60 degrees across the width: a focal length of 886.81 pixels at 1024."""


@register("sources", "hypersim")
@dataclass(frozen=True)
class Hypersim(Looks):
    """Hypersim below `hypersim`, a folder or fsspec URL: all scenes there, or those of a folder further down.

    `cameras` is the table of each scene's own camera (`metadata_camera_parameters.csv` of the Hypersim toolkit): its
    lenses are shifted in some scenes; null takes 60 degrees across the width for all. `bring` is {depth: DISTANCE} and
    can name the column otherwise.
    """

    hypersim: str
    cameras: str | None = None
    bring: Mapping[str, Any] = field(default_factory=lambda: {"depth": DISTANCE})

    name: ClassVar[str] = "hypersim"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "image"
    annotation_options: ClassVar[tuple[str, ...]] = (BRING,)

    @cached_property
    def _tree(self) -> FileTree:
        fs, path = fsspec.url_to_fs(self.hypersim)
        return FileTree(fs, str(path).rstrip("/"))

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        return self._tree.root

    def look(self) -> Mapping[str, Provides]:
        """Return nothing: what is known of a frame is brought."""
        return {}

    def listing(self) -> Iterator[pa.RecordBatch]:
        """Yield the frames there are, unsorted, as LISTING batches; raises ConfigError where there is no folder."""
        self._passed.clear()
        with Spill() as spill:
            spill.store("files", _FILES, self._files())
            yield from (batch.cast(LISTING) for batch in spill.query(_PAIRED))

    def read(self, item: PlannedItem) -> SourceItem:
        """Return a frame's picture; raises SampleError source_gone, source_changed or source_unreadable."""
        (file,) = item.images
        return SourceItem((SourceImage(self._tree.read(file)),))

    def annotations(self, item: PlannedItem) -> Mapping[str, Annotation | SampleError]:
        """Return nothing, for the same reason."""
        return {}

    @cached_property
    def entries(self) -> Mapping[str, BringEntry]:
        """The column of depth; raises ConfigError for an entry of anything else."""
        given = {
            word: {"from": entry, "near": "dark"} if isinstance(entry, str) else {"near": "dark", **entry}
            for word, entry in self.bring.items()
            if isinstance(entry, str | Mapping)
        }
        entries = bring_entries(given if len(given) == len(self.bring) else self.bring)
        for entry in entries.values():
            if entry.use != "depth" or entry.places != (DISTANCE,):
                raise ConfigError(
                    f"bring.{entry.column} of hypersim must be {{use: depth, from: {DISTANCE}}}, got {entry.use} from "
                    f"{entry.places[0]}. Nothing else of it is read."
                )
        return entries

    def check_brought(self) -> None:
        """Raise ConfigError where the table of cameras cannot be read, and where what reads depth is not installed."""
        _ = self._lenses
        if self.entries and importlib.util.find_spec("h5py") is None:
            raise ConfigError("hypersim needs h5py to read depth. Install it with: pip install 'onegen[annotators]'.")

    def brought(self, item: PlannedItem, entry: BringEntry, is_file: bool) -> tuple[Any, ...]:
        """Return planar depth as a file of numpy, float32 (H,W) in metres, None where a frame has no depth.

        Raises SampleError source_gone, source_changed, source_unreadable, brought_pixels, or unknown_camera for a scene
        that the table of cameras does not have.
        """
        if not item.sidecars:
            return (None,)
        (file,) = item.sidecars
        distances = _dataset_in(file.uri, self._tree.read(file))
        sink = io.BytesIO()
        np.save(sink, (distances / ray_lengths(self._lens(item), *distances.shape)).astype(np.float32))
        return (sink.getvalue(),)

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files and folders the last listing left out, by the reason why."""
        return dict(self._passed)

    @cached_property
    def _passed(self) -> Counter[str]:
        return Counter()

    def _lens(self, item: PlannedItem) -> np.ndarray | None:
        if self._lenses is None:
            return None
        found = _PICTURE.fullmatch(item.item)
        scene = found["scene"] if found else item.item
        if scene not in self._lenses:
            raise SampleError(
                "unknown_camera", f"{self.cameras} must have a row for scene {scene}, got none. Take a newer table."
            )
        return self._lenses[scene]

    @cached_property
    def _lenses(self) -> Mapping[str, np.ndarray] | None:
        """Each scene's map from (u, v, 1), both in [-1, 1] with v up, to a ray, float64 (3,3)."""
        if self.cameras is None:
            return None
        try:
            with fsspec.open(self.cameras, "r", newline="", encoding="utf-8") as file:
                return {
                    row["scene_name"]: np.array(
                        [[float(row[f"M_cam_from_uv_{i}{j}"]) for j in range(3)] for i in range(3)]
                    )
                    for row in csv.DictReader(file)
                }
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"cameras of hypersim must be the toolkit's metadata_camera_parameters.csv, with scene_name and "
                f"M_cam_from_uv_00 to _22, got {self.cameras}: {type(error).__name__} {error}."
            ) from error

    def _files(self) -> Iterator[pa.RecordBatch]:
        rows: list[dict[str, Any]] = []
        for file in self._walk():
            is_image = _PICTURE.fullmatch(file.uri) is not None
            if not is_image and not _DEPTH.fullmatch(file.uri):
                self._passed["they are neither tonemapped previews nor depth in metres"] += 1
                continue
            frame = re.sub(r"_(?:final_preview|geometry_hdf5)/(frame\.\d+)\..*", r"/\1", file.uri)
            rows.append({"frame": frame, "is_image": is_image, "uri": file.uri, "size": file.size, "etag": file.etag})
            if len(rows) >= BATCH_ROWS:
                yield pa.RecordBatch.from_pylist(rows, schema=_FILES)
                rows = []
        yield pa.RecordBatch.from_pylist(rows, schema=_FILES)

    def _walk(self) -> Iterator[PlannedFile]:
        tree = self._tree
        if not tree.fs.isdir(tree.base):
            raise ConfigError(
                f"source hypersim must exist, got {tree.base}. Paths in a recipe start from where you run onegen."
            )
        try:
            yield from tree.walk(tree.base, self._passed)
        except OSError as error:
            raise ConfigError(
                f"source hypersim must be readable, got {error.filename or tree.base}: {error.strerror or error}."
            ) from error


def ray_lengths(lens: np.ndarray | None, height: int, width: int) -> np.ndarray:
    """Return by how much each pixel's ray is longer than its part along the camera's axis, float64 (H,W), 1 or more.

    `lens` takes (u, v, 1) to the ray of a pixel in the camera's axes, which looks along -z; None is the lens of most
    scenes. Pixels are sampled at their centres.
    """
    if lens is None:
        lens = np.diag([_TAN_HALF_WIDTH, _TAN_HALF_WIDTH * height / width, -1.0])
    u = (np.arange(width) + 0.5) * 2 / width - 1
    v = 1 - (np.arange(height) + 0.5) * 2 / height
    across, up = np.meshgrid(u, v)
    rays = np.stack([across, up, np.ones_like(up)], axis=-1) @ lens.T
    lengths: np.ndarray = np.linalg.norm(rays, axis=-1) / np.abs(rays[..., 2])
    return lengths


def _dataset_in(name: str, data: bytes) -> np.ndarray:
    """Return the numbers (H,W) of a file of Hypersim as float32; raises SampleError brought_pixels."""
    import h5py

    try:
        with h5py.File(io.BytesIO(data)) as file:
            numbers = np.asarray(file["dataset"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SampleError("brought_pixels", f"{name} must be HDF5 with the array `dataset`: {error}.") from error
    if numbers.ndim != 2 or numbers.dtype.kind not in "fiu":
        raise SampleError("brought_pixels", f"{name} must hold numbers (H,W), got {numbers.dtype} {numbers.shape}.")
    return numbers.astype(np.float32)
