"""Where a scene's files are: paths within a scene, uris from the source's root, and which sets of pictures it has."""

import posixpath
from collections.abc import Collection

from onegen.scenes.captures.frames import SMALLER
from onegen.sources.reading.tree import FileTree


class Places:
    """Which folders of pictures a scene has: asked once a scene, not once a frame."""

    def __init__(self, tree: FileTree, base: str) -> None:
        self._tree, self._base = tree, base
        self._known: dict[str, bool] = {}

    def has(self, name: str) -> bool:
        """Say whether the folder that a picture's path begins with is there, where pictures come in sets."""
        first = name.partition("/")[0]
        if first not in ("images", *SMALLER):
            return True
        if first not in self._known:
            self._known[first] = bool(self._tree.fs.isdir(self._tree.path(uri_of(self._base, first))))
        return self._known[first]


def uri_of(base: str, path: str) -> str:
    """Return the uri of a path that starts from a scene's `base`, wherever it leads."""
    return posixpath.normpath(posixpath.join(base, path))


def within(base: str, path: str) -> str | None:
    """Return the uri of a path within a scene, None for one that leads out of it."""
    plain = posixpath.normpath(path)
    return None if plain.startswith(("../", "/")) or plain == ".." else uri_of(base, plain)


def path_of(base: str, uri: str) -> str:
    """Return the path, from a scene's `base`, of a file."""
    return posixpath.relpath(uri, base or ".")


def is_below(uri: str, folders: Collection[str]) -> bool:
    """Say whether a file lies in one of the folders, or below."""
    folder = posixpath.dirname(uri)
    while folder and folder not in folders:
        folder = posixpath.dirname(folder)
    return folder in folders
