"""Sources: where items come from, one file per kind; sources/NAME.py is imported only when a recipe names NAME."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from onegen.config.bring import BringEntry
from onegen.errors import SampleError
from onegen.sample import Annotation, Kind, Provides, SourceItem

if TYPE_CHECKING:
    import pyarrow as pa

    from onegen.shards.plan import PlannedItem


OPTED_OUT = "opted_out"
"""Reason of a SampleError for a subject that must not be used: its row is filtered, and not failed."""


@runtime_checkable
class Source(Protocol):
    """The contract of a source: a frozen dataclass whose fields are its options, one of them named like the source.

    `kind` is what its items are. `version` is bumped by hand when what it says of an item changes. A dataset pins its
    source's options with its plan (docs/contract.md, rule 12), but for `annotation_options`: those only change the
    columns the source provides, and are part of their fingerprints instead. docs/build.md shows the sources there are.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    kind: ClassVar[Kind]
    annotation_options: ClassVar[tuple[str, ...]]

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        ...

    @property
    def provides(self) -> Mapping[str, Provides]:
        """What the source brings with its images: columns by name, none for most.

        It may look at the source, and is asked once per build, in the driver. Raises ConfigError where the source is
        not there or does not have what its options name.
        """
        ...

    def listing(self) -> "Iterator[pa.RecordBatch]":
        """Yield what there is, in any order, as batches of `onegen.shards.plan.LISTING`.

        Raises ConfigError where the source cannot be listed.
        """
        ...

    def read(self, item: "PlannedItem") -> SourceItem:
        """Return an item's bytes, and what the `image` column says of them.

        Raises SampleError where it is gone, changed or unreadable since the plan.
        """
        ...

    def annotations(self, item: "PlannedItem") -> Mapping[str, Annotation | SampleError]:
        """Return what the source says of an item in each column it provides, without reading its images again.

        A SampleError stands for an annotation that cannot be read, so that the others are kept; raises SampleError
        where the item is gone, changed or unreadable as a whole.
        """
        ...


@runtime_checkable
class CountsPassedOver(Protocol):
    """What a source may have beside its contract, so that nothing it leaves out vanishes in silence."""

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files or folders the listing left out, by the reason why (`they are links to folders`).

        Asked after `listing` has been read to its end.
        """
        ...


@runtime_checkable
class Withdraws(Protocol):
    """What a source has beside its contract whose subjects may ask to be left out, also after the plan was made."""

    def withdrawn(self, item: str) -> bool:
        """Say whether an item, by its id, must no longer be used."""
        ...


@runtime_checkable
class PinsProvides(Protocol):
    """What a source has beside its contract that must look at its files to know what it `provides`."""

    def pin(self, provides: Mapping[str, Provides]) -> None:
        """Take what a look found when the plan was made as what it provides: nothing is looked at again."""
        ...


@runtime_checkable
class Brings(Protocol):
    """What a source has beside its contract whose recipes may say `bring`: the entries, and what stands there.

    `bring` is one of its `annotation_options`; docs/build.md.
    """

    @property
    def entries(self) -> Mapping[str, BringEntry]:
        """What the recipe brings along, by column; raises ConfigError for an entry that is none."""
        ...

    def check_brought(self) -> None:
        """Raise ConfigError where the source can tell that it does not have what an entry names."""
        ...

    def brought(self, item: "PlannedItem", entry: BringEntry, is_file: bool) -> tuple[Any, ...]:
        """Return what the source says of each image of an item, in order, as it says it; None where it says nothing.

        Bytes of a file, or plain data; where it `is_file` that is wanted, text in a table is the path of one. Raises
        SampleError where it is gone, changed or unreadable since the plan.
        """
        ...


def bring_of(source: Source) -> Mapping[str, BringEntry]:
    """Return the columns a recipe brings along with its source's images; raises ConfigError as `entries` does."""
    return source.entries if isinstance(source, Brings) else {}


def passed_over(source: Source) -> Mapping[str, int]:
    """Return how many files or folders a source's listing left out, by reason; none where the source does not count."""
    return source.passed_over() if isinstance(source, CountsPassedOver) else {}
