"""What a digest is taken over and what may be stored: canonical JSON, SHA-256 of bytes, text that UTF-8 can say.

docs/contract.md, rule 7.
"""

import hashlib
import json
from typing import Any

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(value: Any) -> bytes:
    """Return canonical JSON: sorted keys, no spaces, UTF-8. Raises ValueError for NaN and infinities."""
    return _CANONICAL.encode(value).encode()


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def storable(text: str) -> str:
    r"""Return text as valid UTF-8 can hold it, control characters and all.

    JSON may escape half a surrogate pair (`"\ud83d"`), which no UTF-8 file can hold: it becomes U+FFFD, and two halves
    that belong together become the character they stand for.
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
