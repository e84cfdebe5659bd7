"""What tests of audit and query ask of a dataset: the bytes that must not change."""

import hashlib
from pathlib import Path


def snapshot(out: Path) -> dict[str, str]:
    """Return the digest of every file of a dataset but its report."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.relative_to(out).parts[0] != "report"
    }
