"""Table 6 (paper v2): PIE-Bench (Ju et al., ICLR 2024). Does an edit do what it is told, and leave the rest alone?

DATA/mapping_file.json                    masks, prompts and instructions
DATA/annotation_images/0_random_140/...   700 photos of 512 pixels
FOLDER/0_random_140/....png               the edited photo under the name of its source
"""

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from onegen.errors import ConfigError, SampleError
from onegen.eval.encoders.clip import LARGE, ClipEncoder
from onegen.eval.encoders.lpips import Lpips
from onegen.eval.encoders.named import is_called
from onegen.eval.encoders.structure import BASE8, Structure
from onegen.eval.painter import Painter
from onegen.eval.pictures import read_picture, read_pixels
from onegen.eval.protocol import Metric, Output, Protocol, Row, Unit, mean, values_of
from onegen.eval.sampling import Sampling
from onegen.pixels.closeness import gaussian_ssim, mse, psnr

SIDE = 512
Entry = Mapping[str, Any]
_FIELDS = ("image_path", "original_prompt", "editing_prompt", "editing_instruction", "mask")


class PieBench(Protocol):
    """Background kept (PSNR, SSIM, MSE, LPIPS), text followed (CLIP, whole and edited region), structure kept."""

    clip_model: str = Field("", description=f"repository or folder of CLIP, such as {LARGE}; empty: left out")
    dino_model: str = Field("", description=f"for structure: repository or folder, such as {BASE8}; empty: left out")
    lpips_trunk: Path | None = Field(None, description="SqueezeNet of torchvision; else looked for where torch.hub is")

    name: ClassVar[str] = "pie"
    table: ClassVar[str] = "6"
    title: ClassVar[str] = "Editing (PIE-Bench)"
    sampling: ClassVar[Sampling] = Sampling(steps=60, guidance=3.2, height=SIDE, width=SIDE)
    fields: ClassVar[Mapping[str, pa.DataType]] = {
        **dict.fromkeys(("psnr", "ssim", "mse", "lpips", "clip_whole", "clip_edited", "structure"), pa.float64()),
        "edit": pa.string(),
        "instruction": pa.string(),
        "picture": pa.string(),
    }
    ranked_by: ClassVar[str] = "psnr"
    unknown: ClassVar[tuple[str, ...]] = (
        "whether the paper gave the instruction or the prompt: ours is the instruction",
        "steps and guidance of the paper's run: ours are of the range that its demo suggests",
    )

    def units(self) -> Sequence[Unit]:
        """Return the photos by id."""
        return [Unit(key, (_output(entry),)) for key, entry in _mapping(self.require_data()).items()]

    def data_files(self) -> Iterable[Path]:
        """Return the mapping and the photos."""
        root = self.require_data()
        return [root / "mapping_file.json", *(_photo(root, entry) for entry in _mapping(root).values())]

    def metric_models(self) -> list[dict[str, str]]:
        """Return the weights of LPIPS, CLIP and DINO, where they are asked."""
        lpips = [] if self._lpips().lacks() else self._lpips().identity()
        clip = ClipEncoder(self.clip_model).identity() if self.clip_model else []
        return lpips + clip + (Structure(model=self.dino_model).identity() if self.dino_model else [])

    def skipped(self) -> dict[str, str]:
        """Return what cannot be computed."""
        skipped = {}
        if lacks := self._lpips().lacks():
            skipped["lpips"] = lacks
        if not self.clip_model:
            way = f"needs CLIP: pip install 'onegen[hub]' and -O clip_model={LARGE} (or a folder of it)"
            skipped |= {"clip_whole": way, "clip_edited": way}
        if not self.dino_model:
            way = f"needs DINO: pip install 'onegen[hub]' and -O dino_model={BASE8} (or a folder of it)"
            skipped["structure_distance"] = way
        return skipped

    def approximations(self) -> list[str]:
        """Return which networks are not the benchmark's."""
        other = [] if is_called(self.clip_model, LARGE) or not self.clip_model else [f"CLIP is not {LARGE}"]
        if self.dino_model and not is_called(self.dino_model, BASE8):
            other.append(f"DINO is not {BASE8}")
        if not self._lpips().lacks() and not self._lpips().is_torchvisions():
            other.append("LPIPS on another trunk than torchvision's")
        return other

    def lacks(self) -> str:
        """Return how many photos there are, where the set has another number."""
        count = len(_mapping(self.require_data()))
        return "" if count == 700 else f"{count} photos, and PIE-Bench has 700"

    def load(self) -> None:
        """Load CLIP and DINO."""
        if self.clip_model:
            ClipEncoder(self.clip_model).annotator.load()
        if self.dino_model:
            Structure(model=self.dino_model).load()

    def draw(self, unit: Unit, painter: Painter) -> Iterator[tuple[str, Output]]:
        """Yield the photo as its instruction says."""
        root = self.require_data()
        entry = _mapping(root)[unit.name]
        source = read_picture(_photo(root, entry))
        yield (
            unit.outputs[0],
            painter.images(unit.name, "image_editing", entry["editing_instruction"], [None, source])[0],
        )

    def score(self, unit: Unit, folder: Path) -> list[Row]:
        """Return the scores of one edit."""
        root = self.require_data()
        entry = _mapping(root)[unit.name]
        path = self.find(folder, unit.outputs[0])
        assert path is not None, "whoever asks has looked"
        picture = last_square(read_pixels(path))
        source = read_pixels(_photo(root, entry), (SIDE, SIDE))
        mask = edit_mask(entry["mask"])
        row = background(picture / 255.0, source / 255.0, mask, self._lpips())
        if self.clip_model:
            text = entry["editing_prompt"].replace("[", "").replace("]", "")
            row |= self._clip(picture, mask, text)
        if self.dino_model:
            row["structure"] = Structure(model=self.dino_model).distance(picture, source)
        about = {"instruction": entry["editing_instruction"], "edit": str(entry.get("editing_type_id", ""))}
        return [{"item": unit.name, "picture": unit.outputs[0], **about, **row}]

    def summarise(self, rows: Sequence[Row]) -> list[Metric]:
        """Return means over edits; those without a background are left out of its columns."""

        def metric(field: str, name: str = "", **more: Any) -> Metric:
            values = values_of(rows, field)
            return Metric(name=name or field, value=mean(values), count=len(values), **more)

        is_clip, is_dino = is_called(self.clip_model, LARGE), is_called(self.dino_model, BASE8)
        is_lpips = self._lpips().is_torchvisions()

        return [
            metric("psnr", column="PSNR", note="background"),
            metric("ssim", note="background"),
            metric("mse", higher_is_better=False, note="background"),
            metric(
                "lpips",
                exact=is_lpips,
                column="LPIPS x1e3",
                scale=1000.0,
                higher_is_better=False,
                note="background, x1e3",
            ),
            metric("clip_whole", exact=is_clip, column="CLIP whole"),
            metric("clip_edited", exact=is_clip, column="CLIP edited"),
            metric("structure", "structure_distance", exact=is_dino, scale=1000.0, higher_is_better=False, note="x1e3"),
        ]

    def illustrate(self, row: Row, folder: Path) -> list[tuple[str, Image.Image]]:
        """Return the edit and its source."""
        root = self.require_data()
        source = read_picture(_photo(root, _mapping(root)[row["unit"]]))
        return [*super().illustrate(row, folder), ("source", source)]

    def _clip(self, picture: np.ndarray, mask: np.ndarray, text: str) -> Row:
        encoder = ClipEncoder(self.clip_model)
        edited = picture * mask[:, :, np.newaxis]
        images = encoder.images([Image.fromarray(picture), Image.fromarray(edited.astype(np.uint8))])
        whole, region = (max(0.0, 100.0 * float(image @ encoder.texts([text])[0])) for image in images)
        return {"clip_whole": whole, "clip_edited": region}

    def _lpips(self) -> Lpips:
        return Lpips("squeeze", self.lpips_trunk)


def edit_mask(runs: Sequence[int]) -> np.ndarray:
    """Return the mask (512,512) bool of runs (start, length, ...) over the rows: true is to be edited.

    Runs that reach beyond the end are cut there. The outermost pixels are always true: annotators left them out.
    """
    flat = np.zeros(SIDE * SIDE, bool)
    for start, length in zip(runs[::2], runs[1::2], strict=False):
        flat[start : start + length] = True
    mask = flat.reshape(SIDE, SIDE)
    mask[[0, -1], :] = True
    mask[:, [0, -1]] = True
    return mask


def background(picture: np.ndarray, source: np.ndarray, mask: np.ndarray, lpips: Lpips | None = None) -> Row:
    """Return how well what is outside of a mask is kept; pictures are float (H,W,3) in [0, 1].

    The masked part is black in both, and counts among the pixels. Without a background there is nothing to say.
    """
    keep = ~mask[:, :, np.newaxis]
    if not keep.any():
        return {}
    kept, wanted = picture * keep, source * keep
    error = mse(kept, wanted)
    return {
        "psnr": psnr(error, 1.0),
        "ssim": gaussian_ssim(kept, wanted),
        "mse": error,
        "lpips": None if lpips is None or lpips.lacks() else lpips.distance(kept, wanted),
    }


def last_square(pixels: np.ndarray) -> np.ndarray:
    """Return the last 512 x 512 pixels of a picture: methods lay source and edit side by side, the edit last.

    Raises SampleError for a smaller one, and for a square of another size, which is no row of pictures.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < SIDE or (height == width and height != SIDE):
        raise SampleError(
            "size", f"edited picture must be {SIDE}x{SIDE}, or the last of a row of such, got {width}x{height}."
        )
    return pixels[height - SIDE :, width - SIDE :]


def _output(entry: Entry) -> str:
    return PurePosixPath(entry["image_path"]).with_suffix(".png").as_posix()


def _photo(root: Path, entry: Entry) -> Path:
    return root / "annotation_images" / str(entry["image_path"])


@functools.lru_cache(maxsize=4)
def _mapping(root: Path) -> dict[str, Entry]:
    """Return the entries by id; raises ConfigError for a file that is none, or that names photos that are not there."""
    path = root / "mapping_file.json"
    try:
        entries: dict[str, Entry] = json.loads(path.read_text(encoding="utf-8"))
        entries = {key: {**entry, "mask": _runs(entry["mask"])} for key, entry in sorted(entries.items())}
        lacking = [(key, field) for key, entry in entries.items() for field in _FIELDS if field not in entry]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"--data must hold PIE-Bench's mapping_file.json, got {path}: {error!r}.") from error
    if lacking:
        raise ConfigError(f"entry {lacking[0][0]} of {path} must have {lacking[0][1]}, and has not.")
    absent = [entry["image_path"] for entry in entries.values() if not _photo(root, entry).is_file()]
    if absent:
        raise ConfigError(
            f"{path} must name photos below annotation_images/, and {len(absent)} of {len(entries)} are not there: "
            f"{', '.join(absent[:3])}."
        )
    return entries


def _runs(value: Any) -> list[int]:
    """Return runs that stand as a list, or as text of numbers."""
    return [int(number) for number in (re.findall(r"\d+", value) if isinstance(value, str) else value)]
