"""Materials of trimesh become ours: factors, maps as arrays, and what counts as textured."""

from typing import Any

import numpy as np
from PIL import Image

from onegen.errors import SampleError
from onegen.scenes.beside import MAX_TEXTURE_PIXELS
from onegen.scenes.mesh import Material

TEXTURE_SIDE = 4096
"""Pixels of a map's longer side that are kept: eight times a view's."""
BARE = Material(colour=(0.8, 0.8, 0.8, 1.0), metallic=0.0)
"""What a mesh without a material is made of, in Blender too: matte light grey."""
_WHITE = (1.0, 1.0, 1.0, 1.0)


class Maps:
    """Textures as uint8 (h, w, 4), each decoded once however many materials share it."""

    def __init__(self) -> None:
        self._arrays: dict[int, tuple[Any, np.ndarray]] = {}

    def array(self, image: Image.Image | None) -> np.ndarray | None:
        """Return a texture's pixels, or None for none; raises SampleError for one that does not decode."""
        if image is None:
            return None
        if id(image) not in self._arrays:  # the image is kept beside its array, so that its id stays its own
            self._arrays[id(image)] = image, decode(image)
        return self._arrays[id(image)][1]


def decode(image: Image.Image) -> np.ndarray:
    """Return an opened texture as uint8 (h, w, 4), at most `TEXTURE_SIDE` a side."""
    if image.width * image.height > MAX_TEXTURE_PIXELS:
        raise SampleError("too_large_texture", f"texture has {image.width}x{image.height} pixels.")
    try:
        if image.mode.startswith("I"):  # 16 bits, which Pillow would cut instead of scale
            image = Image.fromarray((np.asarray(image).astype(np.float64) / 257).clip(0, 255).astype(np.uint8))
        rgba = image.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SampleError("bad_texture", f"texture must decode: {error}.") from error
    factor = -(-max(rgba.size) // TEXTURE_SIDE)
    return np.array(rgba.reduce(factor) if factor > 1 else rgba)


def convert(material: Any, maps: Maps) -> Material:
    """Return a trimesh material as ours; None becomes `BARE`."""
    if material is None:
        return BARE
    return _pbr(material, maps) if hasattr(material, "metallicFactor") else _simple(material, maps)


def _pbr(material: Any, maps: Maps) -> Material:
    colour = _WHITE if material.baseColorFactor is None else tuple(np.asarray(material.baseColorFactor) / 255.0)
    emission = (0.0, 0.0, 0.0) if material.emissiveFactor is None else tuple(np.asarray(material.emissiveFactor))
    return Material(
        colour=(float(colour[0]), float(colour[1]), float(colour[2]), float(colour[3])),
        metallic=_number(material.metallicFactor, 1.0),
        roughness=_number(material.roughnessFactor, 1.0),
        emission=(float(emission[0]), float(emission[1]), float(emission[2])),
        colour_map=maps.array(material.baseColorTexture),
        metal_rough_map=maps.array(material.metallicRoughnessTexture),
        emission_map=maps.array(material.emissiveTexture),
        alpha={"MASK": "mask", "BLEND": "blend"}.get(material.alphaMode or "", "opaque"),  # type: ignore[arg-type]
        cutoff=_number(material.alphaCutoff, 0.5),
    )


def _simple(material: Any, maps: Maps) -> Material:
    """Return an MTL's material: matte, its map alone where it has one.

    Files often darken a map by Kd, and Blender does not follow them. Kd is taken as linear, also as Blender does. A map
    with holes cuts them out.
    """
    picture = maps.array(getattr(material, "image", None))
    if picture is not None:
        has_holes = bool((picture[..., 3] < 128).any())
        return Material(metallic=0.0, colour_map=picture, alpha="mask" if has_holes else "opaque")
    diffuse = np.asarray(material.diffuse) / 255.0
    return Material(colour=(float(diffuse[0]), float(diffuse[1]), float(diffuse[2]), 1.0), metallic=0.0)


def _number(value: Any, default: float) -> float:
    return default if value is None else float(value)
