"""Pixels in the colours of an ICC profile to sRGB, which is what every reader of plain pixels takes them for."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

_SPACES = {"RGB": "RGB", "CMYK": "CMYK", "L": "GRAY"}
"""The colour space a profile must be of, by the mode of the pixels; profiles of others are left over from elsewhere."""
_LEVELS = 2
"""A profile that moves no colour by more (of 255) is sRGB under one of its many names."""


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Return RGB, CMYK or grey (L) pixels of a profile as sRGB, in mode RGB.

    None where they are sRGB already, or where the profile cannot be read or is of another colour space.
    """
    transform = _transform(profile, image.mode) if image.mode in _SPACES else None
    return ImageCms.applyTransform(image, transform) if transform is not None else None


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return what leads from a profile to sRGB, relative to its white and with its black as black."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (OSError, ImageCms.PyCMSError):
        return None
    return transform if mode == "CMYK" or _moves_colours(transform, mode) else None


def _moves_colours(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    levels = np.arange(0, 256, 15).astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    before = Image.fromarray(grid if mode == "RGB" else levels[np.newaxis])
    after = np.asarray(ImageCms.applyTransform(before, transform), np.int16)
    return bool(np.abs(after - np.asarray(before.convert("RGB"), np.int16)).max() > _LEVELS)
