"""The size each example takes: the aspect-ratio bucket nearest to its first picture, at the resolution of its task.

The table is that of `onegen.pixels.sizes`, scaled to any base whose sides hold whole tokens: 32 or 64 pixels for small
models as well as its own 256 to 2048.
"""

from functools import cache

import numpy as np

from onegen.errors import ConfigError
from onegen.pixels.sizes import bucket_table

_BASE = 1024


@cache
def ratios() -> np.ndarray:
    """Return the printed height/width ratios of the table, ascending, float64."""
    return np.array(sorted(bucket_table(_BASE)), np.float64)


@cache
def sides(base: int, token: int) -> np.ndarray:
    """Return (height, width) of every bucket at a base, in the order of `ratios`, int32 (40,2), in whole tokens.

    Raises ConfigError for a base or token that is not positive, and a base that is not a whole number of tokens.
    """
    if token < 1 or base < token or base % token:
        raise ConfigError(
            f"resolution must be a whole number of tokens of {token} pixels, got {base}. "
            f"Use {max(1, base // max(1, token)) * token}."
        )
    table = bucket_table(_BASE)
    exact = np.array([table[ratio] for ratio in sorted(table)], np.float64) * (base / _BASE)
    return np.maximum(1, np.rint(exact / token)).astype(np.int32) * token


def nearest(sizes: np.ndarray) -> np.ndarray:
    """Return the bucket, a place in `ratios`, nearest to each of `sizes` (n,2) of (height, width); int16 (n,)."""
    given = sizes[:, 0] / np.maximum(1, sizes[:, 1])
    table = ratios()
    above = np.clip(np.searchsorted(table, given), 1, len(table) - 1)
    # of two that are equally near the first, as in onegen.pixels.sizes
    is_lower = given - table[above - 1] <= table[above] - given
    return np.where(is_lower, above - 1, above).astype(np.int16)
