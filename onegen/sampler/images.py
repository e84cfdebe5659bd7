"""Pictures to what the network sees, and back: read, crop, resize, normalise (spec section 4.3)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch.nn import functional

from onegen.errors import ConfigError
from onegen.pixels.sizes import center_crop

Picture = Image.Image | np.ndarray
"""An image: a PIL image of any mode, or uint8 of shape (H, W, 3)."""


def read_image(path: Path) -> Image.Image:
    """Return the picture in a file, upright. Raises ConfigError when there is none."""
    try:
        with Image.open(path) as image:
            return to_rgb(ImageOps.exif_transpose(image))
    except (OSError, UnidentifiedImageError) as error:
        raise ConfigError(f"image must be a readable picture, got {path}: {error}.") from error


def to_rgb(picture: Picture) -> Image.Image:
    """Return an RGB image: alpha over white, 16-bit grey divided by 257, other modes as PIL converts them."""
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ConfigError(f"image array must be uint8 (H, W, 3), got {picture.dtype} {picture.shape}.")
        return Image.fromarray(picture)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    if picture.mode.startswith("I"):
        return Image.fromarray((np.asarray(picture).astype(np.int64) // 257).clip(0, 255).astype(np.uint8)).convert(
            "RGB"
        )
    return picture.convert("RGB")


def prepare(picture: Picture, height: int, width: int, crop: bool = True) -> torch.Tensor:
    """Return a picture as (3, height, width) float32 in [-1, 1], normalised once.

    With `crop`, the largest centred box of the target's aspect, resized bilinearly without antialiasing (as the
    released pipeline does); without, the whole picture, antialiased.
    """
    image = to_rgb(picture)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    if crop:
        top, left, rows, columns = center_crop(image.height, image.width, height, width)
        pixels = pixels[:, :, top : top + rows, left : left + columns]
    options: dict[str, Any] = {"mode": "bilinear", "align_corners": False, "antialias": not crop}
    return (functional.interpolate(pixels, (height, width), **options)[0] - 0.5) / 0.5


def to_pil(images: torch.Tensor) -> list[Image.Image]:
    """Return images (n, 3, h, w) in [0, 1] as PIL images."""
    arrays = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array) for array in arrays]
