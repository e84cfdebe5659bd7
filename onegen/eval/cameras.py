"""Table 5: camera pose on Google Scanned Objects, measured as RayDiffusion does (arXiv 2402.14817).

FOLDER/OBJECT.json   a transforms.json of nerfstudio, as `onegen sample --predict ray` writes: a camera a view
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw
from pydantic import Field

from onegen.errors import ConfigError, SampleError
from onegen.eval.metrics.cameras import THRESHOLDS, centre_errors, chance, rotation_accuracy, sequence_scale, umeyama
from onegen.eval.painter import Painter
from onegen.eval.posed_objects import PosedObject, objects_lacking, read_objects
from onegen.eval.protocol import Metric, Output, Protocol, Row, Unit, mean, values_of
from onegen.eval.sampling import Sampling
from onegen.geometry.cameras import Camera
from onegen.geometry.nerfstudio import read_nerfstudio, to_nerfstudio
from onegen.geometry.rigs import ZERO123_FOCAL

_VIEWS = 6
"""Photos an object in the paper."""
_DRAWN = 512
_SIDE = 320


class CameraPose(Protocol):
    """Share of cameras whose centre is right within 0.1, 0.2 and 0.3 of the scene, beside the level of chance."""

    views: int = Field(_VIEWS, ge=2, le=25, description="photos an object")

    name: ClassVar[str] = "cameras"
    table: ClassVar[str] = "5"
    title: ClassVar[str] = "Camera pose (GSO)"
    sampling: ClassVar[Sampling] = Sampling(height=_DRAWN, width=_DRAWN)
    fields: ClassVar[Mapping[str, pa.DataType]] = {
        "error": pa.float64(),
        "scale": pa.float64(),
        "num_sequence": pa.int32(),
        "rotation": pa.float64(),
        "picture": pa.string(),
    }
    ranked_by: ClassVar[str] = "error"
    higher_is_better: ClassVar[bool] = False
    unknown: ClassVar[tuple[str, ...]] = (
        "objects and renders of the paper's run, and over how many draws it averaged",
        "how the paper merges the doubled channels of rays: ours is their mean",
    )

    def units(self) -> Sequence[Unit]:
        """Return the objects."""
        return [Unit(thing.name, (f"{thing.name}.json",)) for thing in read_objects(self.require_data(), self.views)]

    def data_files(self) -> Iterable[Path]:
        """Return the cameras of all views, and the pictures of those that are shown."""
        for thing in read_objects(self.require_data(), self.views):
            yield from (thing.camera_path(view) for view in thing.views)
            yield from (thing.picture_path(view) for view in range(self.views))

    def find(self, folder: Path, output: str) -> Path | None:
        """Return the file of cameras."""
        path = folder / output
        return path if path.is_file() else None

    def lacks(self) -> str:
        """Return how many objects and cameras of each there are, where GSO30 and the paper have other numbers."""
        few = objects_lacking(read_objects(self.require_data(), self.views))
        other = "" if self.views == _VIEWS else f"{self.views} cameras an object, and the paper has {_VIEWS}"
        return "; ".join(filter(None, (few, other)))

    def draw(self, unit: Unit, painter: Painter) -> Iterator[tuple[str, Output]]:
        """Yield the cameras that the model's rays say."""
        thing = PosedObject(self.require_data(), unit.name, tuple(range(self.views)))
        pictures = [thing.picture(view) for view in thing.views]
        try:
            estimates = painter.cameras(unit.name, pictures, ZERO123_FOCAL)
        except SampleError as error:
            # Scored as it is: cameras that cannot be told are wrong ones.
            document: dict[str, object] = {"frames": [], "no_cameras": str(error)}
        else:
            named = {f"{view:03d}.png": camera for view, camera in zip(thing.views, estimates, strict=True)}
            document = to_nerfstudio(named, _DRAWN, _DRAWN)
        yield unit.outputs[0], f"{json.dumps(document, indent=1)}\n".encode()

    def score(self, unit: Unit, folder: Path) -> list[Row]:
        """Return a row a camera."""
        true, scale, num_sequence = self._truth(unit.name)
        predicted = self._predicted(folder / unit.outputs[0])
        if predicted is None:
            errors, rotation = np.full(len(true), np.inf), 0.0
        else:
            errors = centre_errors(_centres(predicted), _centres(true), scale)
            rotation = rotation_accuracy(_rotations(predicted), _rotations(true))
        return [
            {
                "item": f"{unit.name}/{view:03d}",
                "error": float(error),
                "scale": scale,
                "num_sequence": num_sequence,
                "rotation": rotation,
                "picture": unit.outputs[0],
            }
            for view, error in enumerate(errors)
        ]

    def summarise(self, rows: Sequence[Row]) -> list[Metric]:
        """Return the share of all cameras of all objects, at each threshold, and what guessing reaches."""
        errors = values_of(rows, "error")
        by_object = {row["unit"]: float(row["rotation"]) for row in rows}
        return [
            *(
                Metric(
                    name=f"centre_accuracy.{threshold:g}",
                    value=mean([float(error < threshold) for error in errors]),
                    count=len(errors),
                    column="centre accuracy at 0.3" if threshold == THRESHOLDS[-1] else "",
                )
                for threshold in reversed(THRESHOLDS)
            ),
            Metric(name="rotation_accuracy.15", value=mean(list(by_object.values())), count=len(by_object)),
            Metric(
                name="chance.0.3",
                value=round(chance(self.views, THRESHOLDS[-1]), 4),
                count=0,
                note="centre accuracy of cameras guessed on a sphere",
            ),
        ]

    def illustrate(self, row: Row, folder: Path) -> list[tuple[str, Image.Image]]:
        """Return true and aligned cameras from above, and the first photo."""
        true, _, _ = self._truth(row["unit"])
        predicted = self._predicted(folder / row["picture"])
        thing = PosedObject(self.require_data(), row["unit"], ())
        plots = [] if predicted is None else [("from above: true ○, predicted ×", _plot(predicted, true))]
        return [("first photo", thing.picture(0)), *plots]

    def _truth(self, name: str) -> tuple[list[Camera], float, int]:
        """Return the true cameras that are asked for, and scale and length of the whole sequence they are of."""
        (thing,) = (thing for thing in read_objects(self.require_data(), self.views) if thing.name == name)
        sequence = [thing.camera(view) for view in thing.views if thing.camera_path(view).is_file()]
        return sequence[: self.views], sequence_scale(_centres(sequence)), len(sequence)

    def _predicted(self, path: Path) -> list[Camera] | None:
        """Return the cameras of a file, None where it says that there are none to be told."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(document, dict) and "no_cameras" in document:
                return None
            cameras = _in_order(read_nerfstudio(path))
        except (OSError, ValueError, ConfigError) as error:
            raise SampleError("unreadable", f"{path} must be a transforms.json: {error}") from error
        if cameras is None:
            raise SampleError("views", f"{path} must have cameras of views 000 to {self.views - 1:03d}, got others.")
        if len(cameras) != self.views:
            raise SampleError("count", f"{path} must have {self.views} cameras, got {len(cameras)}.")
        return cameras


def _in_order(cameras: Mapping[str, Camera]) -> list[Camera] | None:
    """Return cameras by image path in the order of the views, where names are their numbers, else in the file's.

    None where the numbers are not those from 0 on.
    """
    names = [PurePosixPath(name.partition("#")[0]).stem for name in cameras]
    if not all(name.isdecimal() for name in names):
        return list(cameras.values())
    numbers = [int(name) for name in names]
    if sorted(numbers) != list(range(len(numbers))):
        return None
    return [camera for _, camera in sorted(zip(numbers, cameras.values(), strict=True), key=lambda pair: pair[0])]


def _centres(cameras: Sequence[Camera]) -> np.ndarray:
    return np.stack([camera.center for camera in cameras])


def _rotations(cameras: Sequence[Camera]) -> np.ndarray:
    """Return world-to-camera rotations (n,3,3)."""
    return np.stack([camera.camera_to_world[:3, :3].T for camera in cameras])


def _plot(predicted: Sequence[Camera], true: Sequence[Camera]) -> Image.Image:
    """Return centres seen from above (x, y), aligned, joined to the true ones."""
    truth = _centres(true)
    aligned = umeyama(_centres(predicted), truth).apply(_centres(predicted))
    reach = 1.15 * max(float(np.abs(truth[:, :2]).max()), float(np.abs(aligned[:, :2]).max()), 1e-9)
    plot = Image.new("RGB", (_SIDE, _SIDE), "white")
    draw = ImageDraw.Draw(plot)
    for wanted, got in zip(truth, aligned, strict=True):
        (x0, y0), (x1, y1) = (_SIDE / 2 * (1 + point[:2] / reach * (1, -1)) for point in (wanted, got))
        draw.line((x0, y0, x1, y1), fill=(170, 170, 170))
        draw.ellipse((x0 - 5, y0 - 5, x0 + 5, y0 + 5), outline=(0, 90, 200), width=2)
        for sign in (-1, 1):
            draw.line((x1 - 4, y1 - 4 * sign, x1 + 4, y1 + 4 * sign), fill=(200, 40, 40), width=2)
    return plot
