"""The sizes an image may take: the largest that fits, aspect-ratio buckets, and the crop that leads to them.

The table of buckets is the one PixArt and the released model trained with: about base x base pixels, sides divisible
by 16.
"""

from collections.abc import Sequence

from onegen.errors import ConfigError

BASES = (256, 512, 1024, 2048)

# height/width as printed in the table, then height and width at base 1024; the other bases scale it exactly
_RATIOS: dict[float, tuple[int, int]] = {
    0.25: (512, 2048), 0.26: (512, 1984), 0.27: (512, 1920), 0.28: (512, 1856), 0.32: (576, 1792),
    0.33: (576, 1728), 0.35: (576, 1664), 0.4: (640, 1600), 0.42: (640, 1536), 0.48: (704, 1472),
    0.5: (704, 1408), 0.52: (704, 1344), 0.57: (768, 1344), 0.6: (768, 1280), 0.68: (832, 1216),
    0.72: (832, 1152), 0.78: (896, 1152), 0.82: (896, 1088), 0.88: (960, 1088), 0.94: (960, 1024),
    1.0: (1024, 1024), 1.07: (1024, 960), 1.13: (1088, 960), 1.21: (1088, 896), 1.29: (1152, 896),
    1.38: (1152, 832), 1.46: (1216, 832), 1.67: (1280, 768), 1.75: (1344, 768), 2.0: (1408, 704),
    2.09: (1472, 704), 2.4: (1536, 640), 2.5: (1600, 640), 2.89: (1664, 576), 3.0: (1728, 576),
    3.11: (1792, 576), 3.62: (1856, 512), 3.75: (1920, 512), 3.88: (1984, 512), 4.0: (2048, 512),
}  # fmt: skip


def fit(
    shape: Sequence[int], max_height: int, max_width: int | None = None, *, enlarge: bool = False, least: int = 1
) -> tuple[float, tuple[int, int]]:
    """Return the scale at which an image of `shape` (H,W,...) fits its limits, and its (width, height) at that scale.

    Without `max_width` the limit is that of the longer side. An image that fits keeps its size (scale 1.0), unless
    `enlarge` makes it as large as the limits allow. Sides are rounded, and at least `least`; their order is that of
    OpenCV and Pillow.
    """
    height, width = shape[:2]
    scale = min(max_height / height, (max_width or max_height) / width)
    scale = scale if enlarge else min(1.0, scale)
    return scale, (max(least, round(width * scale)), max(least, round(height * scale)))


def bucket_table(base: int) -> dict[float, tuple[int, int]]:
    """Return height/width ratio to (height, width) for a base of 256, 512, 1024 or 2048 pixels."""
    if base not in BASES:
        raise ConfigError(f"base of the buckets must be one of {BASES}, got {base}.")
    return {ratio: (height * base // 1024, width * base // 1024) for ratio, (height, width) in _RATIOS.items()}


def nearest_bucket(height: int, width: int, base: int = 512) -> tuple[int, int]:
    """Return the (height, width) of the bucket whose printed ratio is nearest to height/width, the first of equals."""
    table = bucket_table(base)
    return table[min(table, key=lambda ratio: abs(ratio - height / width))]


def center_crop(height: int, width: int, target_height: int, target_width: int) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of the largest centred box with the target's aspect, fractions cut off.

    Corner and extent are cut to integers apart, from the fraction of the other, as the released pipeline does: half of
    an extent already cut would put the corner of a quarter of all photos a pixel off.
    """
    aspect = target_width / target_height
    if width / height > aspect:
        extent = height * aspect
        return 0, max(0, int((width - extent) / 2)), height, min(width, max(1, int(extent)))
    extent = width / aspect
    return max(0, int((height - extent) / 2)), 0, min(height, max(1, int(extent))), width


def check_size(height: int, width: int) -> None:
    """Raise ConfigError unless both sides are positive and divisible by 16.

    Latents are 8 times smaller than images, and a token is 2 x 2 of their pixels.
    """
    for name, side, nearest_side in zip(("height", "width"), (height, width), round_size(height, width), strict=True):
        if side <= 0 or side % 16:
            raise ConfigError(f"{name} must be divisible by 16, got {side}. Use {nearest_side}.")


def round_size(height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) divisible by 16 that is nearest to a size, 16 at least."""
    return max(16, round(height / 16) * 16), max(16, round(width / 16) * 16)
