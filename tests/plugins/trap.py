"""A source whose read kills its process, or never ends, for some files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import ClassVar

import pyarrow as pa

from onegen.config.registry import register
from onegen.errors import SampleError
from onegen.sample import Annotation, Kind, Provides, SourceItem
from onegen.shards.plan import PlannedItem
from onegen.sources.folder import Folder
from tests.plugins.poison import act


@register("sources", "trap")
@dataclass(frozen=True)
class Trap:
    """The folder `trap`; reading a file whose name is a word that `poison.act` knows does what it says."""

    trap: str

    name: ClassVar[str] = "trap"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "image"
    annotation_options: ClassVar[tuple[str, ...]] = ()
    provides: ClassVar[Mapping[str, Provides]] = {}

    @cached_property
    def _folder(self) -> Folder:
        return Folder(self.trap)

    @property
    def root(self) -> str:
        return self._folder.root

    def listing(self) -> Iterator[pa.RecordBatch]:
        return self._folder.listing()

    def read(self, item: PlannedItem) -> SourceItem:
        act(PurePosixPath(item.item).stem)
        return self._folder.read(item)

    def annotations(self, item: PlannedItem) -> Mapping[str, Annotation | SampleError]:
        return {}
