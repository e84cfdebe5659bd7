"""What a worker has written of a shard so far, for the worker that goes on when it dies.

Parts go into a half-written tar anyway. A journal beside it, among the temporary files, says which rows they are; both
outlive their process. They do not outlive the build: the next driver sweeps them. Only a dataset in a folder has such a
place; elsewhere a journal keeps nothing, and a shard whose worker died is begun again.
"""

import contextlib
import os
import pickle
import uuid
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import BinaryIO

from onegen.shards.canonical import sha256
from onegen.shards.index import Row
from onegen.storage.store import Store


class Journal:
    """The notes on one shard of one column; `rows` are the rows that earlier workers left behind, by position.

    There are none where it `takes_over` nothing because another worker may still be at the shard; what others noted
    stays. Use as a context manager. What it leaves when its process is killed is found by the next journal of that
    shard.
    """

    def __init__(self, store: Store, column: str, shard: int, takes_over: bool = True) -> None:
        self._folder = store.scratch()
        self._prefix = f"journal-{column}-{shard:06d}-"
        self._file: BinaryIO | None = None
        self._tars: dict[int, str] = {}
        self._left_over: list[str] = []
        self.rows: dict[int, Row] = {}
        for name in self._names() if takes_over else ():
            self._load(os.path.join(str(self._folder), name))

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the own notes, whose tar goes too, and those of the dead, unless an error leaves the shard undone."""
        if self._file is not None:
            self._file.close()
            os.remove(self._file.name)
        for path in self._left_over if error is None else ():
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)

    def note(self, tar: str | None, rows: Sequence[Row]) -> None:
        """Note rows whose parts are in a tar by now, as far as they have any."""
        if self._folder is None or not rows:
            return
        if self._file is None:
            self._file = open(os.path.join(self._folder, f"{self._prefix}{uuid.uuid4().hex}"), "wb")  # noqa: SIM115
        pickle.dump((tar, list(rows)), self._file)
        self._file.flush()

    def parts(self, row: Row) -> Mapping[str, bytes]:
        """Return the parts of a row in `rows`; raises OSError where its tar does not hold them."""
        parts: dict[str, bytes] = {}
        if row.parts:
            with open(self._tars[row.position], "rb") as tar:
                for member in row.parts:
                    tar.seek(member.offset)
                    parts[member.name] = tar.read(member.size)
                    if sha256(parts[member.name]) != member.sha256:
                        raise OSError(f"{tar.name} must hold {member.name} of {row.key}, and is damaged. Run again.")
        return parts

    def _names(self) -> list[str]:
        if self._folder is None:
            return []
        return sorted(name for name in os.listdir(self._folder) if name.startswith(self._prefix))

    def _load(self, path: str) -> None:
        """Read the notes of a worker that is gone; the last may be cut short."""
        self._left_over.append(path)
        with open(path, "rb") as file, contextlib.suppress(EOFError, pickle.UnpicklingError):
            while True:
                tar, rows = pickle.load(file)
                if tar is not None and not os.path.exists(tar):
                    continue
                if tar is not None and tar not in self._left_over:
                    self._left_over.append(tar)
                for row in rows:
                    self.rows[row.position] = row
                    self._tars[row.position] = tar
