"""Table 4: monocular depth on NYUv2 and DIODE, by Marigold's protocol (arXiv 2312.02145).

    FOLDER/test/kitchen_0004/rgb_0001.npy (or .png)   prediction for the photo of this name, of its size, any scale

A dataset of ours with a column of depth stands for such a folder: its rows are found by the names of their photos.
"""

import functools
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from onegen.errors import ConfigError, SampleError
from onegen.eval.benchmark_files import BenchmarkFiles
from onegen.eval.depth_column import column_maps
from onegen.eval.metrics.depth import MODES, score_depth
from onegen.eval.painter import Painter
from onegen.eval.protocol import PICTURES, Metric, Output, Protocol, Row, Unit, find_file, mean, values_of
from onegen.eval.sampling import Sampling

_LISTS = {
    "nyuv2": ("filename_list_test.txt", "nyu_depth_list.txt"),
    "diode": ("diode_val_all_filename_list.txt", "filename_list_val.txt"),
}
"""Where the list of photos is looked for in the data."""
_EIGEN_ROWS, _EIGEN_COLUMNS = slice(45, 471), slice(41, 601)
_CLIP = {"nyuv2": (1e-3, 10.0), "diode": (0.6, 350.0)}
_SIZE = {"nyuv2": (480, 640), "diode": (768, 1024)}
_NAMES = {"nyuv2": "NYUv2", "diode": "DIODE"}
DRAWN_AT = (480, 640)
"""Height and width a photo is shown to the model: both sets have this aspect, and nothing is cropped."""


class MonocularDepth(Protocol):
    """AbsRel and delta1 of relative depth, aligned by least squares in depth and in disparity."""

    dataset: Literal["nyuv2", "diode"] = Field("nyuv2", description="nyuv2 (654 photos) or diode (771)")
    listing: Path | None = Field(None, description="file with `rgb depth ...` a line; else found in the data")
    column: str = Field("depth", description="of a dataset of ours that is scored instead of a folder")

    name: ClassVar[str] = "depth"
    table: ClassVar[str] = "4"
    title: ClassVar[str] = "Monocular depth"
    sampling: ClassVar[Sampling] = Sampling()
    fields: ClassVar[Mapping[str, pa.DataType]] = {
        **{f"{metric}_{mode}": pa.float64() for mode in MODES for metric in ("abs_rel", "delta1", "scale", "shift")},
        "picture": pa.string(),
    }
    ranked_by: ClassVar[str] = "abs_rel_disparity"
    higher_is_better: ClassVar[bool] = False
    unknown: ClassVar[tuple[str, ...]] = (
        "whether the paper aligned in depth or in disparity, which decides the number: both are printed",
        "the resolution at which the paper drew depth: ours is 480x640",
    )

    @property
    def variant(self) -> str:
        """Which set."""
        return self.dataset

    def units(self) -> Sequence[Unit]:
        """Return the photos of the list."""
        return [Unit(str(PurePosixPath(row[0]).with_suffix("")), (_output(row[0]),)) for row in _listed(self)]

    def data_files(self) -> Iterable[Path]:
        """Return the truth and its list, or the one tar that holds them."""
        files = self._files()
        if files.is_tar:
            return [files.path]
        return [files.path / name for row in _listed(self) for name in self._truth_names(row)]

    def lacks(self) -> str:
        """Return how many photos there are, where the set has another number."""
        wanted = 654 if self.dataset == "nyuv2" else 771
        count = len(_listed(self))
        return "" if count == wanted else f"{count} photos, and {_NAMES[self.dataset]} has {wanted}"

    def find(self, folder: Path, output: str) -> Path | None:
        """Return the prediction: numbers, or a grey picture; of a dataset, its card where it has the photo."""
        if is_dataset(folder):
            has = PurePosixPath(output).with_suffix("").as_posix() in column_maps(folder, self.column)
            return folder / "dataset.json" if has else None
        return find_file(folder / output, (".npy", *PICTURES))

    def is_only_pictures(self, folder: Path) -> bool:
        """Say that a dataset holds more."""
        return not is_dataset(folder)

    def draw(self, unit: Unit, painter: Painter) -> Iterator[tuple[str, Output]]:
        """Yield the depth map that the model draws, near = bright, of the photo's own size."""
        (row,) = (row for row in _listed(self) if _output(row[0]) == unit.outputs[0])
        photo = Image.open(io.BytesIO(self._files().read(row[0]))).convert("RGB")
        drawn = painter.array(unit.name, "depth2image", "", [photo, None], DRAWN_AT).mean(axis=2)
        yield unit.outputs[0], cv2.resize(drawn.astype(np.float32), photo.size, interpolation=cv2.INTER_LINEAR)

    def score(self, unit: Unit, folder: Path) -> list[Row]:
        """Return the errors of one map under both alignments."""
        (row,) = (row for row in _listed(self) if _output(row[0]) == unit.outputs[0])
        truth, valid = self.truth(row)
        if is_dataset(folder):
            small = column_maps(folder, self.column)[unit.name]()
            prediction = cv2.resize(small, truth.shape[::-1], interpolation=cv2.INTER_LINEAR)
        else:
            path = self.find(folder, unit.outputs[0])
            assert path is not None, "whoever asks has looked"
            prediction = read_map(path)
        scores = {mode: score_depth(prediction, truth, valid, _CLIP[self.dataset], mode) for mode in MODES}
        named = {
            f"{field}_{mode}": getattr(score, field)
            for mode, score in scores.items()
            for field in ("abs_rel", "delta1", "scale", "shift")
        }
        return [{"item": unit.name, "picture": unit.outputs[0], **named}]

    def truth(self, row: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return depth (H,W) in metres and the valid pixels (H,W) of a line of the list; raises ConfigError."""
        if self.dataset == "nyuv2":
            # The second column is the raw depth; the third, filled up by a method, scores nothing.
            depth = self._array(row[1]) / 1000.0
            valid = np.zeros(depth.shape, bool)
            valid[_EIGEN_ROWS, _EIGEN_COLUMNS] = True
            return depth, valid & (depth > 1e-3) & (depth < 10.0)
        return self._array(row[1]), self._array(row[2]).astype(bool)

    def _array(self, name: str) -> np.ndarray:
        """Return a file of numbers as float64 (H,W) of the set's size; raises ConfigError for another."""
        data, (height, width) = self._files().read(name), _SIZE[self.dataset]
        try:
            if name.endswith(".npy"):
                values = np.load(io.BytesIO(data), allow_pickle=False)
            else:
                values = np.asarray(Image.open(io.BytesIO(data)))
        except (OSError, ValueError, SyntaxError) as error:
            raise ConfigError(f"truth must be readable, got {name}: {error}.") from error
        values = np.squeeze(values).astype(np.float64)
        if values.shape != (height, width):
            raise ConfigError(f"truth of {_NAMES[self.dataset]} must be {width}x{height}, got {name} {values.shape}.")
        return values

    def summarise(self, rows: Sequence[Row]) -> list[Metric]:
        """Return both metrics under both alignments, means over photos."""
        return [
            Metric(
                name=f"{metric}.{mode}",
                value=mean(values_of(rows, f"{metric}_{mode}")),
                count=len(rows),
                scale=100.0,
                column=f"{_NAMES[self.dataset]} {'AbsRel' if metric == 'abs_rel' else 'δ1'}",
                higher_is_better=metric == "delta1",
                note=f"aligned in {mode}",
            )
            for mode in MODES
            for metric in ("abs_rel", "delta1")
        ]

    def illustrate(self, row: Row, folder: Path) -> list[tuple[str, Image.Image]]:
        """Return photo, prediction and truth."""
        (listed,) = (listed for listed in _listed(self) if _output(listed[0]) == row["picture"])
        photo = Image.open(io.BytesIO(self._files().read(listed[0]))).convert("RGB")
        truth, valid = self.truth(listed)
        inverse = np.where(valid, 1.0 / np.maximum(truth, 1e-3), np.nan)
        if is_dataset(folder):
            prediction = column_maps(folder, self.column)[row["unit"]]()
        else:
            path = self.find(folder, row["picture"])
            if path is None:
                return [("photo", photo)]
            prediction = read_map(path)
        return [("photo", photo), ("prediction", _grey(prediction)), ("truth, 1/d", _grey(inverse))]

    def _truth_names(self, row: Sequence[str]) -> list[str]:
        return [row[1]] if self.dataset == "nyuv2" else [row[1], row[2]]

    def _files(self) -> BenchmarkFiles:
        return BenchmarkFiles(self.require_data())


def is_dataset(folder: Path) -> bool:
    """Say whether a folder is a dataset of ours."""
    return (folder / "dataset.json").is_file()


def read_map(path: Path) -> np.ndarray:
    """Return a prediction as float64 (H,W): the mean of its channels. Raises SampleError `unreadable`."""
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            with Image.open(path) as picture:
                values = np.asarray(picture)
    except (OSError, ValueError, SyntaxError) as error:
        raise SampleError("unreadable", f"{path} must be a depth map: {error}") from error
    values = np.squeeze(np.asarray(values, np.float64))
    if values.ndim == 3:
        values = values[..., :3].mean(axis=2) if values.shape[2] in (3, 4) else values.mean(axis=0)
    if values.ndim != 2:
        raise SampleError("size", f"{path} must be (height, width), got {values.shape}.")
    return values


def _output(rgb: str) -> str:
    return str(PurePosixPath(rgb).with_suffix(".npy"))


@functools.lru_cache(maxsize=8)
def _listed(protocol: MonocularDepth) -> tuple[tuple[str, ...], ...]:
    """Return the lines of the list as columns; raises ConfigError naming a file that is not in the data."""
    files = BenchmarkFiles(protocol.require_data())
    rows = [tuple(line.split()) for line in _list_text(protocol, files).splitlines() if line.strip()]
    columns = 2 if protocol.dataset == "nyuv2" else 3
    short = next((row for row in rows if len(row) < columns), None)
    if short is not None or not rows:
        raise ConfigError(
            f"list of {protocol.dataset} must have {columns} names a line, got {' '.join(short or ())!r}."
        )
    rows = [row for row in rows if "None" not in row[:columns]]
    names = [name for row in rows for name in row[:columns]]
    absent = [name for name in names if not files.has(name)]
    if absent:
        raise ConfigError(
            f"list of {protocol.dataset} must name files of {files.path}, and {len(absent)} of {len(names)} are not "
            f"there: {', '.join(absent[:3])}."
        )
    return tuple(rows)


def _list_text(protocol: MonocularDepth, files: BenchmarkFiles) -> str:
    if protocol.listing is not None:
        try:
            return protocol.listing.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"listing must be a readable file, got {protocol.listing}: {error.strerror}.") from error
    for name in _LISTS[protocol.dataset]:
        if files.has(name):
            return files.read(name).decode()
    raise ConfigError(
        f"{files.path} must hold {_LISTS[protocol.dataset][0]}, the list of its photos. Say -O listing=FILE, such as "
        f"that of Marigold's data_split."
    )


def _grey(map_: np.ndarray) -> Image.Image:
    """Return a map as a picture, stretched between its 2nd and 98th percentile; what is unknown is black."""
    known = map_[np.isfinite(map_)]
    if not known.size:
        return Image.new("RGB", (map_.shape[1], map_.shape[0]))
    low, high = np.percentile(known, [2, 98])
    stretched = np.clip((map_ - low) / max(high - low, 1e-12), 0, 1)
    return Image.fromarray((np.nan_to_num(stretched) * 255).astype(np.uint8)).convert("RGB")
