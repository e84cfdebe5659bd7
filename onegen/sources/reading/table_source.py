"""What a source of tables does whatever its rows hold: list them, keep columns, and travel to workers.

A source says which columns are which (`_table`) and reads a row.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa

from onegen.config.bring import BRING, BringEntry, bring_entries
from onegen.errors import SampleError
from onegen.sample import Annotation, Provides
from onegen.shards.plan import PlannedItem
from onegen.sources.reading.looking import Looks
from onegen.sources.reading.table import Table
from onegen.sources.reading.tar_table import TarTable


class TableSource(Looks):
    """Base of sources that read Parquet tables; `num_images` is how many images a row has.

    `roles` are what several are called.
    """

    num_images: ClassVar[int]
    roles: ClassVar[tuple[str, ...]] = ()
    annotation_options: ClassVar[tuple[str, ...]] = ("url", "keep", BRING)
    bring: Mapping[str, Any]

    @property
    @abstractmethod
    def _table(self) -> Table | TarTable: ...

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        return self._table.root

    def look(self) -> Mapping[str, Provides]:
        """Return what is kept of the table: the column `metadata` with `url` and the columns of `keep`.

        Raises ConfigError for a column that is not there or cannot be kept.
        """
        return self._table.provides()

    def listing(self) -> Iterator[pa.RecordBatch]:
        """Yield every row of every file, as LISTING batches; raises ConfigError for a file or a column amiss."""
        return self._table.listing(self.num_images)

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files and folders the last listing left out, by the reason why."""
        return self._table.passed_over()

    def annotations(self, item: PlannedItem) -> Mapping[str, Annotation | SampleError]:
        """Return what is kept of an item's row; raises SampleError as `read` does of the file, or bad_metadata."""
        return self._table.metadata(item, self.provides)

    @cached_property
    def entries(self) -> Mapping[str, BringEntry]:
        """What the recipe brings along, by column; raises ConfigError for an entry that is none."""
        return bring_entries(self.bring, self.roles)

    def check_brought(self) -> None:
        """Raise ConfigError where a column to bring is not in every table."""
        self._table.check_brought(self.entries)

    def brought(self, item: PlannedItem, entry: BringEntry, is_file: bool) -> tuple[Any, ...]:
        """Return what an item's row says of each image; raises SampleError as `read` does, or as for a picture."""
        return tuple(self._table.brought(item, entry.places, place, is_file) for place in entry.places)
