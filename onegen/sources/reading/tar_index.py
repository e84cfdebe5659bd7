"""The members of a tar by key and part, where the plan does not say where they lie.

`bring` was written after the plan was made, or the tar was written again since and its row has nothing to protect.
"""

import contextlib
from collections import Counter

from onegen.shards.plan import PlannedFile
from onegen.sources.reading.tar import DamagedTar, key_and_part, member_uri, members
from onegen.sources.reading.tree import FileTree, unreadable


class TarIndex:
    """Finds members by streaming the headers of a tar once; it remembers the tar it looked at last."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree
        self._tar: PlannedFile | None = None
        self._members: dict[tuple[str, str], PlannedFile] = {}

    def find(self, uri: str, etag: str | None, key: str, part: str) -> PlannedFile | None:
        """Return a part of a key as a plan has it, of the tar that a member's etag means; without one as it is now.

        Of two by one name it is the first. Raises SampleError source_gone, source_changed or source_unreadable.
        """
        tar = self._tar_of(uri, etag)
        if tar != self._tar:
            self._members = self._read(tar)
            self._tar = tar
        return self._members.get((key, part))

    def _tar_of(self, uri: str, planned: str | None) -> PlannedFile:
        """Return a tar that is as planned, by the etag of a member; without one as it is now."""
        if planned is None:
            try:
                return PlannedFile(uri, *self._tree.state(uri))
            except OSError as error:
                raise unreadable(self._tree.path(uri), error) from error
        size, _, etag = planned.partition(":")
        tar = PlannedFile(uri, int(size), etag)
        self._tree.check(tar)
        return tar

    def _read(self, tar: PlannedFile) -> dict[tuple[str, str], PlannedFile]:
        found: dict[tuple[str, str], PlannedFile] = {}
        path, etag = self._tree.path(tar.uri), f"{tar.size}:{tar.etag}"
        try:
            with contextlib.suppress(DamagedTar), self._tree.fs.open(path, "rb") as file:
                for member in members(file, tar.size, Counter()):
                    planned = PlannedFile(member_uri(tar.uri, member), member.size, etag)
                    found.setdefault(key_and_part(member.name), planned)
        except OSError as error:
            raise unreadable(path, error) from error
        return found
