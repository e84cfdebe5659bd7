"""Keep pyarrow from importing pandas, which we never use, in processes that are ours.

Where pandas is installed pyarrow imports it at the first list that becomes an array: half a second and 50 MB, in every
worker. It asks once, and again when somebody wants a table as pandas' (`to_pandas`, `from_pandas`): that still works.
"""

import sys
from collections.abc import Sequence
from types import ModuleType

import pyarrow as pa


class _Later:
    """A finder that knows nothing but that pandas is not there."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        """Raise ModuleNotFoundError for pandas."""
        if name == "pandas":
            raise ModuleNotFoundError("pandas is left out for now", name=name)


def spare_pandas() -> None:
    """Let pyarrow find no pandas for as long as nobody asks it for pandas' own; nothing happens where it is there."""
    if "pandas" in sys.modules:
        return
    later = _Later()
    sys.meta_path.insert(0, later)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(later)
