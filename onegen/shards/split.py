"""Which samples are kept apart for validation: a function of the sample alone, the same for loader and exports.

No later build, no other dataset beside it and no order of reading moves a sample from one side to the other.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

_ALL = 1 << 64


def group_of(key: str, image_values: Mapping[str, Any]) -> int:
    """Return the number, of 64 bits, by which a sample goes to training or validation.

    `image_values` are those of its row in the image column. All samples of one subject, or of one scene, go the same
    way, so that none is seen in both.
    """
    named = next((name for name in ("subject", "scene") if image_values.get(name)), None)
    text = f"{named}:{image_values[named]}" if named else f"key:{key}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def held_out_below(share: float) -> int:
    """Return the number below which groups are held out, so that `share` of them, in [0, 1), are."""
    return int(share * _ALL)
