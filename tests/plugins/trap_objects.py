"""A source of objects whose drawing kills its process for some files."""

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
from onegen.sources.objects import Objects
from tests.plugins.poison import act


@register("sources", "trap_objects")
@dataclass(frozen=True)
class TrapObjects:
    """The objects below `trap_objects`; one whose name is a word that `poison.act` knows does what it says."""

    trap_objects: str

    name: ClassVar[str] = "trap_objects"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "scene"
    annotation_options: ClassVar[tuple[str, ...]] = ()
    provides: ClassVar[Mapping[str, Provides]] = {}

    @cached_property
    def _objects(self) -> Objects:
        return Objects(self.trap_objects, views=4, size=32)

    @property
    def root(self) -> str:
        return self._objects.root

    def listing(self) -> Iterator[pa.RecordBatch]:
        return self._objects.listing()

    def read(self, item: PlannedItem) -> SourceItem:
        act(PurePosixPath(item.item).stem)
        return self._objects.read(item)

    def annotations(self, item: PlannedItem) -> Mapping[str, Annotation | SampleError]:
        return {}
