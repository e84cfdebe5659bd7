"""A log of which images annotators were asked about, shared by all processes of a build."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from onegen.sample import Item


def note_calls(path: str, column: str, items: Sequence[Item]) -> None:
    """Append one line per item; a line is one write, so that processes do not mix theirs."""
    if path:
        with open(path, "ab", buffering=0) as file:
            file.write("".join(f"{column} {item.key}\n" for item in items).encode())


def count_calls(path: Path) -> Counter[str]:
    """Return how many items each column's annotator was given since the log was last removed."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return Counter(line.split()[0] for line in lines)
