"""Real photos and real weights for tests: brought once through pip, then read from the user's cache."""

import functools
from pathlib import Path

import numpy as np
from PIL import Image

from onegen.demo.photos import PHOTOS, main, write_photos
from onegen.errors import ConfigError
from onegen.sample import Item
from onegen.weights.fetch import PackagedFile, fetch, models_folder
from onegen.weights.table import TABLE


@functools.cache
def bring_models() -> None:
    """Fetch what annotators need, unless it is there by its sizes (loading a model hashes it anyway)."""
    try:
        for model in TABLE:
            for file in () if model.optional else model.files:
                PackagedFile(model.package.name, file).require()
    except ConfigError:
        fetch()


@functools.cache
def _bring_photos() -> None:
    write_photos(models_folder().parent / "photos")


@functools.cache
def bring_sets() -> tuple[Path, Path]:
    """Bring the demo's subjects and mesh files once, and return their folders in the user's cache."""
    root = models_folder().parent
    assert main([str(root / "photos"), "--people", "--objects"]) == 0
    return root / "people", root / "objects"


@functools.cache
def photo(name: str) -> np.ndarray:
    """Return a demo photo by its file name, as RGB uint8 (H,W,3); do not write into it."""
    _bring_photos()
    assert any(p.member.endswith(f"/{name}") for photos in PHOTOS.values() for p in photos), name
    pixels = np.asarray(Image.open(models_folder().parent / "photos" / name).convert("RGB"))
    pixels.flags.writeable = False
    return pixels


def item(name: str, caption: str | None = None) -> Item:
    """Return a photo as an annotator gets it."""
    return Item(key=name.partition(".")[0].ljust(20, "0"), pixels=photo(name), caption=caption)
