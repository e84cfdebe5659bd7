"""The image column: check, orient, resize and hash what a source read. docs/contract.md, rules 3 and 4.

An upright 8-bit sRGB JPEG, PNG or WebP within `max_side` keeps its original bytes. Anything else is rewritten once:
upright RGB (see `onegen.pixels.upright`), LANCZOS to `max_side`; PNG where the source was lossless, else JPEG of
quality 95 without chroma subsampling.
"""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image

from onegen.errors import SampleError
from onegen.geometry.lens import Lens, from_record, straighten
from onegen.pixels.codec import JPEG_SIDE
from onegen.pixels.phash import phash
from onegen.pixels.sizes import fit
from onegen.pixels.upright import Upright, cut, decode, in_srgb, open_header, silence_odd_metadata
from onegen.sample import CAME_LATER, IMAGE, Annotation, BaseAnnotator, Item, Part, Provides, Rejected
from onegen.shards.canonical import storable
from onegen.shards.index import IMAGE_FIELDS

_EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
"""Formats whose bytes may pass through, with the name of the part."""
_FORMATS: Mapping[str, tuple[str, int, Mapping[str, Any]]] = {
    "jpg": ("JPEG", JPEG_SIDE, {"quality": 95, "subsampling": 0}),
    "png": ("PNG", 2**31 - 1, {"compress_level": 6}),
    "webp": ("WEBP", 16_383, {"lossless": True}),
}
"""How what is rewritten is written, by part: Pillow's name of the format, its longest side, and the options."""


@dataclass(frozen=True)
class Ingest(BaseAnnotator):
    """Make the `image` column.

    `min_side` (pixels; smaller is filtered), `max_side` (pixels; larger is resized; None keeps), `max_pixels` (more
    fails on its header alone), `licence` and `attribution` where the source names none, `colour` (srgb converts RGB of
    other profiles, keep leaves it in them), `format` (what images are stored as: keep leaves JPEG, PNG and WebP what
    they are; webp is lossless, jpg of quality 95).
    """

    min_side: int = 1
    max_side: int | None = 1024
    max_pixels: int = 100_000_000
    licence: str | None = None
    attribution: str | None = None
    colour: Literal["srgb", "keep"] = "srgb"
    format: Literal["keep", "jpg", "png", "webp"] = field(default="keep", metadata={CAME_LATER: True})

    name: ClassVar[str] = IMAGE
    version: ClassVar[int] = 1
    provides: ClassVar[Provides] = Provides(tuple(Part(name) for name in _EXTENSIONS.values()), IMAGE_FIELDS)
    needs_pixels: ClassVar[bool] = False

    def load(self) -> None:
        """Get ready for odd files."""
        silence_odd_metadata()

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the stored image (part jpg, png or webp) and its facts, or Rejected `too_small`.

        Raises SampleError: empty_file, not_an_image, too_many_pixels, undecodable, unsupported_pixels, no_panel,
        too_large_for_format.
        """
        return [self._answer(item) for item in items]

    def _answer(self, item: Item) -> Annotation | Rejected:
        source = item.source
        assert source is not None, "ingest is fed by a source"
        image = open_header(source.data)
        width, height = image.size
        if width * height > self.max_pixels:
            raise SampleError(
                "too_many_pixels",
                f"image must have at most {self.max_pixels:,} pixels, got {width}x{height}. "
                f"Raise image.max_pixels to take it.",
            )
        if min(width, height) < self.min_side:
            return self._too_small(width, height)
        upright = decode(image, source.data)
        if source.panel is not None:
            upright = cut(upright, source.panel)
            if min(upright.image.size) < self.min_side:
                return self._too_small(*upright.image.size)
        if source.lens is not None:
            upright = _straight(upright, from_record(source.lens))
        if self.colour == "srgb":
            upright = in_srgb(upright)
        extension, stored, pixels = self._store(upright, str(image.format), source.data)
        return Annotation(
            values={
                "width": pixels.shape[1],
                "height": pixels.shape[0],
                "phash": phash(pixels),
                "caption": _text(source.caption),
                "licence": _text(source.licence or self.licence),
                "attribution": _text(source.attribution or self.attribution),
            },
            parts={extension: stored},
        )

    def _too_small(self, width: int, height: int) -> Rejected:
        return Rejected("too_small", f"{width}x{height}, image.min_side is {self.min_side}")

    def _store(self, upright: Upright, format_: str, data: bytes) -> tuple[str, bytes, np.ndarray]:
        """Return extension, bytes and RGB pixels of what is stored."""
        image = upright.image
        fits = self.max_side is None or max(image.size) <= self.max_side
        is_wanted = self.format in ("keep", _EXTENSIONS.get(format_))
        if format_ in _EXTENSIONS and is_wanted and upright.is_plain and fits:
            return _EXTENSIONS[format_], data, np.asarray(image)
        if self.max_side is not None and not fits:
            _, size = fit((image.height, image.width), self.max_side)
            image = image.resize(size, Image.Resampling.LANCZOS)
        extension = self.format if self.format != "keep" else "png" if upright.is_lossless else "jpg"
        return extension, _encode(image, extension, upright.profile), np.asarray(image)


def _straight(upright: Upright, lens: Lens) -> Upright:
    """Return a picture without what its lens bent; raises SampleError unsupported_lens."""
    pixels = straighten(np.asarray(upright.image), lens)
    return dataclasses.replace(upright, image=Image.fromarray(pixels), is_plain=False)


def _text(text: str | None) -> str | None:
    return storable(text) if text is not None else None


def _encode(image: Image.Image, extension: str, profile: bytes | None) -> bytes:
    """Return the bytes of an image; raises SampleError too_large_for_format."""
    kind, longest, options = _FORMATS[extension]
    if max(image.size) > longest:
        raise SampleError(
            "too_large_for_format",
            f"a {kind} must have at most {longest:,} pixels a side, got {image.width}x{image.height}. "
            f"Set image.max_side, or another image.format.",
        )
    sink = io.BytesIO()
    image.save(sink, kind, icc_profile=profile, **options)
    return sink.getvalue()
