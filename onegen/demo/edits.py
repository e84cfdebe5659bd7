"""Edits that are true by construction: one side is a demo photo as it came, the other is computed from it.

Some take something away from the photo, so that the target is the computed one; others put right what was done to
it, so that the target is the photo. Columns are named as in OmniEdit. `change` is the mean absolute difference of both
sides, 0 to 1, the source brought to the target's size; one edit changes nothing, on purpose, for rules to find.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from onegen.demo.table import IMAGE, DemoPhoto, png, read_photo
from onegen.tasks import degradations

SCHEMA = pa.schema(
    [
        ("edit_id", pa.string()),
        ("task", pa.string()),
        ("src_img", IMAGE),
        ("edited_img", IMAGE),
        ("edited_prompt_list", pa.list_(pa.string())),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("change", pa.float64()),
        ("src_caption", pa.string()),
        ("edited_caption", pa.string()),
        ("licence", pa.string()),
        ("attribution", pa.string()),
        ("origin", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Edit:
    """One way to edit: its paraphrases, what is computed of a photo's RGB uint8 (H,W,3), and for which photos.

    `mends` says that the photo is the target and what is computed of it the source.
    """

    task: str
    phrases: tuple[str, ...]
    alter: Callable[[np.ndarray], np.ndarray]
    photos: tuple[str, ...]
    mends: bool = False


def edits_table(folder: Path) -> pa.Table:
    """Return every edit of the demo photos in a folder; raises ConfigError where one is missing."""
    rows = [_row(edit, read_photo(folder, name)) for edit in EDITS for name in edit.photos]
    return pa.Table.from_pylist(rows, SCHEMA)


def _row(edit: Edit, photo: DemoPhoto) -> dict[str, object]:
    altered = edit.alter(photo.pixels)
    original = {"bytes": photo.data, "path": photo.name}
    computed = {"bytes": png(altered), "path": f"{Path(photo.name).stem}-{edit.task}.png"}
    # A photo's caption may speak of what the edit takes away: what is computed has none.
    sides = [(original, photo.pixels, photo.caption), (computed, altered, None)]
    (source, before, source_caption), (target, after, target_caption) = sides[::-1] if edit.mends else sides
    return {
        "edit_id": f"{edit.task}_{Path(photo.name).stem}",
        "task": edit.task,
        "src_img": source,
        "edited_img": target,
        "edited_prompt_list": list(edit.phrases),
        "width": after.shape[1],
        "height": after.shape[0],
        "change": _change(before, after),
        "src_caption": source_caption,
        "edited_caption": target_caption,
        "licence": photo.licence,
        "attribution": photo.attribution,
        "origin": photo.origin,
    }


def _change(source: np.ndarray, target: np.ndarray) -> float:
    height, width = target.shape[:2]
    if source.shape != target.shape:
        source = cv2.resize(source, (width, height), interpolation=cv2.INTER_AREA)
    return round(float(cv2.absdiff(source, target).mean()) / 255, 4)


def _grey(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def _turned(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[::-1, ::-1])


def _mirrored(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[:, ::-1])


def _darkened(pixels: np.ndarray) -> np.ndarray:
    return (pixels.astype(np.uint16) * 3 // 10).astype(np.uint8)


def _framed(pixels: np.ndarray) -> np.ndarray:
    """Return a picture in a white frame of a tenth of its longer side."""
    wide = max(pixels.shape) // 10
    return np.pad(pixels, ((wide, wide), (wide, wide), (0, 0)), constant_values=255)


def _zoomed(pixels: np.ndarray) -> np.ndarray:
    """Return the middle half of both sides, enlarged to the size of the whole."""
    height, width = pixels.shape[:2]
    high, wide = height // 2, width // 2
    top, left = (height - high) // 2, (width - wide) // 2
    middle = pixels[top : top + high, left : left + wide]
    return cv2.resize(middle, (width, height), interpolation=cv2.INTER_CUBIC)


def _noisy(pixels: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(7).normal(0.0, 30.0, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def _blurred(pixels: np.ndarray) -> np.ndarray:
    return degradations.blur(pixels, seed=3)


def _coarse(pixels: np.ndarray) -> np.ndarray:
    return degradations.low_resolution(pixels, seed=1)


def _holed(pixels: np.ndarray) -> np.ndarray:
    return degradations.holes(pixels, seed=5)


def _stamped(pixels: np.ndarray) -> np.ndarray:
    """Return a copy with a word in large letters across its middle."""
    stamped = pixels.copy()
    height, width = pixels.shape[:2]
    scale, thick = width / 160, max(2, width // 80)
    (wide, high), _ = cv2.getTextSize("SAMPLE", cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    at = ((width - wide) // 2, (height + high) // 2)
    return np.asarray(cv2.putText(stamped, "SAMPLE", at, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), thick))


EDITS = (
    Edit(
        "black_and_white",
        ("Make the photo black and white.", "Take all colour out of the picture."),
        _grey,
        ("flower.jpg", "lion.jpg", "camera.png"),  # camera.png has no colour: nothing changes
    ),
    Edit(
        "turn", ("Turn the picture upside down.", "Rotate it by 180 degrees."), _turned, ("rocket.jpg", "chelsea.png")
    ),
    Edit("mirror", ("Mirror the picture left to right.", "Flip it horizontally."), _mirrored, ("bus.jpg", "lion.jpg")),
    Edit(
        "frame",
        ("Put a broad white frame around the picture.", "Give it a white border."),
        _framed,
        ("china.jpg", "cheetah.jpg"),
    ),
    Edit(
        "zoom", ("Zoom in on the middle of the picture.", "Move twice as close."), _zoomed, ("cheetah.jpg", "tower.jpg")
    ),
    Edit(
        "colour",
        ("Colour the black-and-white photo.", "Give the picture its natural colours."),
        _grey,
        ("astronaut.png", "china.jpg"),
        mends=True,
    ),
    Edit(
        "unframe",
        ("Remove the white frame.", "Crop the white border away."),
        _framed,
        ("coffee.png", "tower.jpg"),
        mends=True,
    ),
    Edit(
        "brighten",
        ("Brighten the dark photo.", "Make it look as if the light had been good."),
        _darkened,
        ("coffee.png", "chelsea.png"),
        mends=True,
    ),
    Edit(
        "fill",
        ("Fill in the black areas.", "Restore the parts that are painted black."),
        _holed,
        ("china.jpg", "bus.jpg"),
        mends=True,
    ),
    Edit(
        "deblur",
        ("Make the blurred photo sharp.", "Remove the blur."),
        _blurred,
        ("chelsea.png", "flower.jpg"),
        mends=True,
    ),
    Edit(
        "refine",
        ("Bring back the fine detail of the coarse picture.", "Raise the resolution."),
        _coarse,
        ("coffee.png", "lion.jpg"),
        mends=True,
    ),
    Edit("denoise", ("Remove the noise.", "Clean the grain off."), _noisy, ("astronaut.png", "rocket.jpg"), mends=True),
    Edit(
        "remove_text",
        ("Remove the word SAMPLE.", "Take the white letters away."),
        _stamped,
        ("flower.jpg", "cheetah.jpg"),
        mends=True,
    ),
)
"""The edits, each with the photos it is made of."""
