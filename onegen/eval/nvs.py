"""Table 2: novel views of Google Scanned Objects, by EscherNet's protocol (arXiv 2402.03908).

FOLDER/OBJECT/010.png ... 024.png   views 10 to 24 as drawn from views 0 to N - 1, RGB, 256 x 256
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from onegen.eval.encoders.lpips import Lpips
from onegen.eval.painter import Painter
from onegen.eval.pictures import read_pixels
from onegen.eval.posed_objects import SIDE, PosedObject, compared, objects_lacking, over_white, read_objects
from onegen.eval.protocol import Metric, Output, Protocol, Row, Unit, mean_of_means
from onegen.eval.sampling import Sampling
from onegen.pixels.closeness import mse, psnr, ssim

FIRST_TARGET, NUM_VIEWS = 10, 25
_A_PASS = 3
"""Views a call generates: what the model was trained on."""


class NovelViews(Protocol):
    """PSNR, SSIM and LPIPS of 15 unseen views, from 1, 2 or 3 of known or unknown pose."""

    views: Literal[1, 2, 3] = Field(1, description="how many views are given")
    poses: Literal["known", "unknown"] = Field("known", description="of the second and third: given or not")
    lpips_trunk: Path | None = Field(None, description="AlexNet of torchvision; else looked for where torch.hub is")

    name: ClassVar[str] = "nvs"
    table: ClassVar[str] = "2"
    title: ClassVar[str] = "Novel views (GSO30)"
    sampling: ClassVar[Sampling] = Sampling(height=512, width=512)
    fields: ClassVar[Mapping[str, pa.DataType]] = {
        "psnr": pa.float64(),
        "ssim": pa.float64(),
        "lpips": pa.float64(),
        "picture": pa.string(),
    }
    ranked_by: ClassVar[str] = "psnr"
    unknown: ClassVar[tuple[str, ...]] = (
        "objects, views, steps and size of the paper's run: objects and views are EscherNet's, drawn at 512 pixels and "
        "compared at 256",
    )

    @property
    def variant(self) -> str:
        """Views given, and how."""
        return f"{self.views}" if self.views == 1 else f"{self.views}-{self.poses}"

    def units(self) -> Sequence[Unit]:
        """Return the objects."""
        targets = tuple(f"{view:03d}.png" for view in range(FIRST_TARGET, NUM_VIEWS))
        return [
            Unit(thing.name, tuple(f"{thing.name}/{target}" for target in targets))
            for thing in read_objects(self.require_data(), NUM_VIEWS)
        ]

    def data_files(self) -> Iterable[Path]:
        """Return pictures and cameras of all views."""
        for thing in read_objects(self.require_data(), NUM_VIEWS):
            for view in range(NUM_VIEWS):
                yield from (thing.picture_path(view), thing.camera_path(view))

    def metric_models(self) -> list[dict[str, str]]:
        """Return LPIPS' weights, where it is computed."""
        return [] if self._lpips().lacks() else self._lpips().identity()

    def skipped(self) -> dict[str, str]:
        """Return LPIPS where its trunk is not here."""
        lacks = self._lpips().lacks()
        return {"lpips": lacks} if lacks else {}

    def lacks(self) -> str:
        """Return how many objects there are, where GSO30 has another number."""
        return objects_lacking(read_objects(self.require_data(), NUM_VIEWS))

    def draw(self, unit: Unit, painter: Painter) -> Iterator[tuple[str, Output]]:
        """Yield the 15 targets, three a call, each call conditioned on the given views alone."""
        thing = PosedObject(self.require_data(), unit.name, tuple(range(NUM_VIEWS)))
        given: list[Any] = []
        for view in range(self.views):
            is_known = view == 0 or self.poses == "known"
            given += [thing.picture(view), thing.camera(view) if is_known else None]
        for first in range(FIRST_TARGET, NUM_VIEWS, _A_PASS):
            targets = range(first, min(first + _A_PASS, NUM_VIEWS))
            asked = [part for view in targets for part in (None, thing.camera(view))]
            pictures = painter.images(f"{unit.name}/{first}", "multiview", "", [*given, *asked])
            for view, picture in zip(targets, pictures, strict=True):
                yield f"{unit.name}/{view:03d}.png", picture.resize((SIDE, SIDE))

    def score(self, unit: Unit, folder: Path) -> list[Row]:
        """Return a row a target; raises SampleError for a picture that is not 256 pixels wide and high."""
        thing = PosedObject(self.require_data(), unit.name, tuple(range(NUM_VIEWS)))
        rows: list[Row] = []
        for output in unit.outputs:
            path = self.find(folder, output)
            assert path is not None, "whoever asks has looked"
            truth = compared(over_white(thing.picture_path(int(Path(output).stem))))
            rows.append({"item": output, "picture": output, **self.compare(read_pixels(path, (SIDE, SIDE)), truth)})
        return rows

    def compare(self, picture: np.ndarray, truth: np.ndarray) -> Row:
        """Return the metrics of two RGB uint8 (256,256,3) pictures."""
        lpips = self._lpips()
        return {
            "psnr": psnr(mse(picture, truth), 255.0),
            "ssim": ssim(picture, truth),
            "lpips": None if lpips.lacks() else lpips.distance(picture / 255.0, truth / 255.0),
        }

    def summarise(self, rows: Sequence[Row]) -> list[Metric]:
        """Return means over an object's targets, then over objects."""
        column = f"{self.views}" if self.views == 1 else f"{self.views} {self.poses}"
        return [
            Metric(name="psnr", value=mean_of_means(rows, "psnr", "unit"), count=len(rows), column=column, note="dB"),
            Metric(name="ssim", value=mean_of_means(rows, "ssim", "unit"), count=len(rows)),
            Metric(name="lpips", value=mean_of_means(rows, "lpips", "unit"), count=len(rows), higher_is_better=False),
        ]

    def illustrate(self, row: Row, folder: Path) -> list[tuple[str, Image.Image]]:
        """Return drawn view and truth."""
        thing = PosedObject(self.require_data(), row["unit"], ())
        truth = over_white(thing.picture_path(int(Path(row["picture"]).stem)))
        return [*super().illustrate(row, folder), ("truth", truth)]

    def _lpips(self) -> Lpips:
        return Lpips("alex", self.lpips_trunk)
