"""Sources: where items come from, one file per kind; sources/NAME.py is imported only when a recipe names NAME."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from onegen.sample import SourceItem

if TYPE_CHECKING:
    import pyarrow as pa

    from onegen.shards.plan import PlannedItem


@runtime_checkable
class Source(Protocol):
    """The contract of a source: a frozen dataclass whose fields are its options, one of them named like the source."""

    name: ClassVar[str]
    version: ClassVar[int]

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        ...

    def listing(self) -> "Iterator[pa.RecordBatch]":
        """Yield what there is, in any order, as batches of `onegen.shards.plan.LISTING`."""
        ...

    def read(self, item: "PlannedItem") -> SourceItem:
        """Return an item's bytes; raises SampleError where it is gone, changed or unreadable since the plan."""
        ...
