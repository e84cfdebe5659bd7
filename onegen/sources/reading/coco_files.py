"""The COCO JSONs of a folder: planned with its pictures, read once, and asked about one of them."""

import os
from collections.abc import Sequence

from onegen.errors import ConfigError, SampleError
from onegen.shards.plan import PlannedFile, PlannedItem
from onegen.sources.reading.coco import Coco, CocoImage, merged
from onegen.sources.reading.tree import FileTree


def check_coco_paths(paths: Sequence[str]) -> None:
    """Raise ConfigError for a path that does not lie below the folder."""
    for path in paths:
        if os.path.normpath(path) != path or path.startswith(("/", "..")):
            raise ConfigError(
                f"coco must be a path below the folder, as annotations/captions_train2017.json, got {path!r}. "
                f"Take the folder that holds both pictures and annotations."
            )


class CocoFiles:
    """COCO JSONs by their `paths` in a folder; those of several are merged in this order."""

    def __init__(self, tree: FileTree, paths: Sequence[str]) -> None:
        self._tree, self.paths = tree, tuple(paths)
        self._read: dict[PlannedFile, Coco] = {}

    def planned(self) -> list[PlannedFile]:
        """Return the files as they are now; raises ConfigError where one is not there or is none."""
        files = []
        for path in self.paths:
            try:
                files.append(PlannedFile(path, *self._tree.state(path)))
                self.opened(files[-1])
            except (OSError, SampleError) as error:
                raise ConfigError(
                    f"coco must name a COCO JSON by its path in {self._tree.base}, got {path!r}: {error}"
                ) from error
        return files

    def opened(self, file: PlannedFile) -> Coco:
        """Return a file's images, read once; raises SampleError where it is none or has changed since the plan."""
        self._tree.check(file)
        if file not in self._read:
            self._read[file] = Coco(file.uri, self._tree.read(file))
        return self._read[file]

    def said_of(self, item: PlannedItem) -> CocoImage:
        """Return what the files say of an item's picture; raises SampleError where one has changed."""
        files = [file for file in item.sidecars if file.uri in self.paths]
        return merged([self.opened(file).annotations_of(item.item) for file in files])
