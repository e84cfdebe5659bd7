"""Pictures to what the network sees, and back: read, crop, resize, normalise (docs/onediffusion.md)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from onegen.errors import ConfigError, SampleError
from onegen.pixels.sizes import center_crop
from onegen.pixels.upright import decode, open_header, to_rgb

Picture = Image.Image | np.ndarray
"""An image: a PIL image of any mode, or uint8 of shape (H, W, 3)."""


def read_image(path: Path) -> Image.Image:
    """Return the picture in a file as upright RGB, as a build would store it.

    Raises ConfigError when there is none, or one whose pixels have no 8-bit meaning.
    """
    try:
        data = path.read_bytes()
        return decode(open_header(data), data).image
    except (OSError, SampleError) as error:
        raise ConfigError(f"image must be a readable picture, got {path}: {error}") from error


def to_image(picture: Picture) -> Image.Image:
    """Return a picture as an RGB image (see `onegen.pixels.upright.to_rgb`).

    Raises ConfigError for an array that is not uint8 (H,W,3), and for 32-bit pixels.
    """
    if isinstance(picture, np.ndarray) and (picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3):
        raise ConfigError(f"image array must be uint8 (H, W, 3), got {picture.dtype} {picture.shape}.")
    try:
        return to_rgb(picture)
    except SampleError as error:
        raise ConfigError(str(error)) from error


def prepare(picture: Picture, height: int, width: int, crop: bool = True) -> torch.Tensor:
    """Return a picture as (3, height, width) float32 in [-1, 1], normalised once.

    With `crop`, the largest centred box of the target's aspect, resized bilinearly without antialiasing (as the
    released pipeline does); without, the whole picture, antialiased.
    """
    image = to_image(picture)
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
