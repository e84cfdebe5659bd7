"""Answers of a served model, kept by question: in this process, and in a folder where one is named."""

import json
import os
from pathlib import Path

_MOST = 10_000


class Answers:
    """Texts, and whether they were cut off, by the SHA-256 of what was asked.

    A batch that failed for one row is asked for again in halves, and a run that died again from its last shard: neither
    costs a request. A file that does not read is asked for again.
    """

    def __init__(self, folder: str | None) -> None:
        self._folder = None if folder is None else Path(folder)
        self._known: dict[str, tuple[str, bool]] = {}

    def get(self, key: str) -> tuple[str, bool] | None:
        """Return an answer, None where there is none."""
        if key in self._known or self._folder is None:
            return self._known.get(key)
        try:
            text, is_cut = json.loads(self._path(self._folder, key).read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError):
            return None
        return str(text), bool(is_cut)

    def put(self, key: str, answer: tuple[str, bool]) -> None:
        """Keep an answer; in the folder it appears whole or not at all."""
        if len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        self._known[key] = answer
        if self._folder is not None:
            path = self._path(self._folder, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(f".{os.getpid()}")
            part.write_text(json.dumps(answer), encoding="utf-8")
            part.replace(path)

    @staticmethod
    def _path(folder: Path, key: str) -> Path:
        return folder / key[:2] / f"{key}.json"
