"""Pictures to what the network sees, and back: read, crop, resize, normalise (docs/onediffusion.md)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.nn import functional

from onegen.errors import ConfigError, SampleError
from onegen.pixels.sizes import center_crop
from onegen.pixels.upright import decode, open_header, to_rgb

Picture = Image.Image | np.ndarray
"""An image: a PIL image of any mode, or uint8 of shape (H, W, 3)."""


def read_image(path: Path, role: str = "image") -> Image.Image:
    """Return the picture in a file as upright RGB, as a build would store it; see `to_image` for `role`.

    Raises ConfigError when there is none, or one whose pixels have no 8-bit meaning.
    """
    try:
        data = path.read_bytes()
        image = decode(open_header(data), data).image
        layer = open_header(data)
        if role == "masked" and _has_holes(layer):
            return _over_black(ImageOps.exif_transpose(layer))
    except (OSError, SampleError) as error:
        raise ConfigError(f"image must be a readable picture, got {path}: {error}") from error
    return image


def to_image(picture: Picture, role: str = "image") -> Image.Image:
    """Return a picture as an RGB image (see `onegen.pixels.upright.to_rgb`).

    What is transparent lies over white, but in the view `masked` of inpainting, where a hole is black. Raises
    ConfigError for an array that is not uint8 (H,W,3), and for 32-bit pixels.
    """
    if isinstance(picture, np.ndarray) and (picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3):
        raise ConfigError(
            f"image array must be uint8 (H, W, 3), got {picture.dtype} {picture.shape}. "
            f"Bring its values to 0 .. 255, as in (255 * image).round().astype(np.uint8) for floats in [0, 1]."
        )
    if role == "masked" and isinstance(picture, Image.Image) and _has_holes(picture):
        return _over_black(picture)
    try:
        return to_rgb(picture)
    except SampleError as error:
        raise ConfigError(str(error)) from error


def paint_holes(photo: Image.Image, mask: Image.Image) -> Image.Image:
    """Return an RGB photo with black where its mask is white: what inpainting is to fill.

    `mask` is an RGB image of the photo's size; 128 and above counts as white. Raises ConfigError for another size, and
    for a mask without white.
    """
    if mask.size != photo.size:
        raise ConfigError(
            f"mask must have the size of its photo, {photo.width}x{photo.height}, got {mask.width}x{mask.height}. "
            f"Resize the mask."
        )
    hole = mask.convert("L").point([0] * 128 + [255] * 128)
    if hole.getbbox() is None:
        raise ConfigError("mask must be white where to paint, got none of it. Invert it if black marks the place.")
    return Image.composite(Image.new("RGB", photo.size), photo, hole)


def _has_holes(image: Image.Image) -> bool:
    return "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La")


def _over_black(image: Image.Image) -> Image.Image:
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "black"), layer).convert("RGB")


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
