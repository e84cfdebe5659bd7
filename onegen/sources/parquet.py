"""Parquet files, one image a row: a hub's dataset export, the table of a crawl, or a table of paths.

Columns are mapped by name; a field of a struct is named with dots, `about.caption`. The image column holds bytes, the
{bytes, path} structs that HF `datasets` writes, or paths that start from the Parquet file's folder (or from
`image_root`). The plan is made from the footers alone: an item is `file#row`, and stands and falls with the size and
etag of its file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from onegen.config.registry import register
from onegen.sample import Kind, SourceImage, SourceItem
from onegen.shards.plan import PlannedItem
from onegen.sources.reading.columns import TextColumn, text_column
from onegen.sources.reading.table import Table
from onegen.sources.reading.table_source import TableSource


@register("sources", "parquet")
@dataclass(frozen=True)
class Parquet(TableSource):
    """Images in `parquet`: a file, a glob, a folder or a range in braces, local or any fsspec URL.

    `image`, `caption`, `licence`, `attribution` and `url` name columns of it; `keep` those that become fields of the
    column `metadata`, beside the url. Of a list of captions the first counts; {column: captions, pick: longest} takes
    the longest, `pick: random` any. `images[0]` is an element of a column of lists. Paths in the image column must lie
    below `image_root`, else below the folder of their Parquet file. With `url` or `keep` the footers of all files are
    read when the plan is made. `bring` names columns of the dataset and those of the table that hold them:
    {depth: depth, boxes: objects}.
    """

    parquet: str
    image: str = "image"
    caption: str | TextColumn | None = None
    licence: str | None = None
    attribution: str | None = None
    url: str | None = None
    keep: tuple[str, ...] = ()
    image_root: str | None = None
    bring: Mapping[str, Any] = field(default_factory=dict)

    name: ClassVar[str] = "parquet"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "image"
    num_images: ClassVar[int] = 1

    @cached_property
    def _table(self) -> Table:
        caption = text_column(self.caption)
        return Table(
            option="source parquet",
            pattern=self.parquet,
            pictures={"image": self.image},
            texts={
                "caption": caption.column if caption else None,
                "licence": self.licence,
                "attribution": self.attribution,
            },
            picks={"caption": caption.pick} if caption else {},
            url=self.url,
            keep=self.keep,
            image_root=self.image_root,
        )

    def read(self, item: PlannedItem) -> SourceItem:
        """Return an item's bytes and texts.

        Raises SampleError source_gone, source_changed, source_unreadable, no_image or outside_root.
        """
        row = self._table.read(item)
        return SourceItem(
            (SourceImage(row.picture("image"), row.text("caption"), row.text("licence"), row.text("attribution")),)
        )
