"""Parquet files, one image a row: a hub's dataset export, the table of a crawl, or a table of paths.

Columns are mapped by name; a field of a struct is named with dots, `about.caption`. The image column holds bytes, the
{bytes, path} structs that HF `datasets` writes, or paths that start from the Parquet file's folder (or from
`image_root`). The plan is made from the footers alone: an item is `file#row`, and stands and falls with the size and
etag of its file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa

from onegen.registry import register
from onegen.sample import Annotation, Kind, Provides, SampleError, SourceImage, SourceItem
from onegen.shards.plan import PlannedItem
from onegen.sources._table import Table, state_of


@register("sources", "parquet")
@dataclass(frozen=True)
class Parquet:
    """Images in `parquet`: a file, a glob, a folder or a range in braces, local or any fsspec URL.

    `image`, `caption`, `licence`, `attribution` and `url` name columns of it; `keep` those that become fields of the
    column `metadata`, beside the url. Paths in the image column must lie below `image_root`, else below the folder of
    their Parquet file. With `url` or `keep` the first file must be there whenever a build starts, for its types.
    """

    parquet: str
    image: str = "image"
    caption: str | None = None
    licence: str | None = None
    attribution: str | None = None
    url: str | None = None
    keep: tuple[str, ...] = ()
    image_root: str | None = None

    name: ClassVar[str] = "parquet"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "image"
    annotation_options: ClassVar[tuple[str, ...]] = ("url", "keep")

    def __getstate__(self) -> dict[str, Any]:
        return state_of(self)

    @cached_property
    def _table(self) -> Table:
        return Table(
            option="source parquet",
            pattern=self.parquet,
            pictures={"image": self.image},
            texts={"caption": self.caption, "licence": self.licence, "attribution": self.attribution},
            url=self.url,
            keep=self.keep,
            image_root=self.image_root,
        )

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        return self._table.root

    @property
    def provides(self) -> Mapping[str, Provides]:
        """What is kept of the table: the column `metadata` with `url` and the columns of `keep`.

        Raises ConfigError for a column that is not there or cannot be kept.
        """
        return self._table.provides

    def listing(self) -> Iterator[pa.RecordBatch]:
        """Yield every row of every file, as LISTING batches; raises ConfigError for a file or a column amiss."""
        return self._table.listing(num_images=1)

    def read(self, item: PlannedItem) -> SourceItem:
        """Return an item's bytes and texts.

        Raises SampleError source_gone, source_changed, source_unreadable, no_image or outside_root.
        """
        row = self._table.read(item)
        return SourceItem(
            (SourceImage(row.picture("image"), row.text("caption"), row.text("licence"), row.text("attribution")),)
        )

    def annotations(self, item: PlannedItem) -> Mapping[str, Annotation | SampleError]:
        """Return what is kept of an item's row; raises SampleError as `read` does of the file."""
        return self._table.metadata(item)
