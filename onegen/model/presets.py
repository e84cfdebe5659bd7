"""Sizes of the network from a laptop to the released one: four numbers each, the rest follows.

Head dimensions are divisible by 6 (rotary axes) and, but for the released 120, by 8 and 16 (attention kernels pad
otherwise). The counts are for 2048-wide text and 16 latent channels.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preset:
    """Width, number of blocks, query heads and key heads."""

    hidden_size: int
    depth: int
    num_heads: int
    num_kv_heads: int


PRESETS: dict[str, Preset] = {
    "tiny": Preset(384, 6, 8, 2),  # 17 M (14 M with 384-wide text): one CPU
    "small": Preset(768, 10, 16, 4),  # head dimension 48
    "base": Preset(1152, 14, 12, 3),  # head dimension 96
    "large": Preset(2304, 16, 24, 6),  # head dimension 96
    "released": Preset(3840, 16, 32, 8),  # 2,800,389,184 parameters, head dimension 120
}
