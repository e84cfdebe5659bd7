"""Parquet files, one image a row: a hub's dataset export, the table of a crawl, or a table of paths.

Columns are mapped by name. The image column holds bytes, the {bytes, path} structs that HF `datasets` writes, or paths
that start from the Parquet file's folder (or from `image_root`). The plan is made from the footers alone: an item is
`file#row`, and stands and falls with the size and etag of its file.
"""

import dataclasses
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import fsspec
import pyarrow as pa

from onegen.registry import nearest, register
from onegen.sample import Annotation, ConfigError, Kind, Provides, SampleError, SourceImage, SourceItem
from onegen.shards.plan import LISTING, PlannedFile, PlannedItem
from onegen.shards.spill import BATCH_ROWS
from onegen.sources._files import Files, unreadable
from onegen.sources._metadata import METADATA, field_name, kept, kept_type, provided
from onegen.sources._rows import RowReader, open_footer, row_uri, split_row

_TEXTS = ("caption", "licence", "attribution", "url")


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
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @cached_property
    def _files(self) -> Files:
        return Files(self.parquet, (".parquet", ".pq"), "source parquet")

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        return self._files.root

    @cached_property
    def provides(self) -> Mapping[str, Provides]:
        """What is kept of the table: the column `metadata` with `url` and the columns of `keep`.

        Raises ConfigError for a column that is not there or cannot be kept.
        """
        if not self._kept:
            return {}
        first = self._files.first()
        schema, _ = open_footer(self._files, first)
        return provided({name: self._kept_type(schema, column, first) for name, column in self._kept.items()})

    def listing(self) -> Iterator[pa.RecordBatch]:
        """Yield every row of every file, as LISTING batches; raises ConfigError for a file or a column amiss."""
        for file in self._files.listed():
            schema, rows = open_footer(self._files, file)
            self._check(schema, file)
            for start in range(0, rows, BATCH_ROWS):
                uris = [row_uri(file.uri, number) for number in range(start, min(start + BATCH_ROWS, rows))]
                images = [[{"uri": uri, "size": file.size, "etag": file.etag}] for uri in uris]
                yield pa.RecordBatch.from_pydict(
                    {"item": uris, "images": images, "sidecars": [[]] * len(uris)}, schema=LISTING
                )

    def read(self, item: PlannedItem) -> SourceItem:
        """Return an item's bytes and texts.

        Raises SampleError source_gone, source_changed, source_unreadable, no_image or outside_root.
        """
        row = self._images.row(item.images[0])
        said = row[self.image]
        if isinstance(said, Mapping):
            said = said.get("bytes") or said.get("path") or None
        if said is None:
            raise SampleError("no_image", f"{self.image} must hold an image, got null in {item.item}.")
        data = said if isinstance(said, bytes) else self._fetch(str(said), item.images[0])
        texts = {name: row[column] or None for name, column in self._texts.items() if name != "url"}
        image = SourceImage(data, texts.get("caption"), texts.get("licence"), texts.get("attribution"))
        return SourceItem((image,))

    def annotations(self, item: PlannedItem) -> Mapping[str, Annotation | SampleError]:
        """Return what is kept of an item's row; raises SampleError as `read` does of the file."""
        if not self._kept:
            return {}
        row = self._kept_rows.row(item.images[0])
        return {METADATA: Annotation({field_name(name): kept(row[column]) for name, column in self._kept.items()})}

    @property
    def _texts(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in _TEXTS if getattr(self, name) is not None}

    @property
    def _kept(self) -> dict[str, str]:
        """Return the columns of the table to keep, by the name each is kept under."""
        url = {"url": self.url} if self.url is not None else {}
        return {**{name: name for name in self.keep if name != self.url}, **url}

    @cached_property
    def _images(self) -> RowReader:
        columns = [self.image, *(column for name, column in self._texts.items() if name != "url")]
        return RowReader(self._files, list(dict.fromkeys(columns)))

    @cached_property
    def _kept_rows(self) -> RowReader:
        return RowReader(self._files, list(dict.fromkeys(self._kept.values())))

    def _check(self, schema: pa.Schema, file: PlannedFile) -> None:
        """Raise ConfigError where a mapped column is not there or is of no use."""
        kind = self._column(schema, "image", self.image, file)
        if not (_is_bytes(kind) or _is_text(kind) or _is_image_struct(kind)):
            raise ConfigError(
                f"image column must hold bytes, paths or {{bytes, path}} structs, got {kind} in {self.image!r} of "
                f"{self._files.path(file.uri)}."
            )
        for name, column in self._texts.items():
            kind = self._column(schema, name, column, file)
            if not _is_text(kind):
                raise ConfigError(
                    f"{name} column must hold text, got {kind} in {column!r} of {self._files.path(file.uri)}."
                )
        for column in self._kept.values():
            self._kept_type(schema, column, file)

    def _kept_type(self, schema: pa.Schema, column: str, file: PlannedFile) -> pa.DataType:
        kind = kept_type(self._column(schema, "keep", column, file))
        if kind is None:
            raise ConfigError(
                f"kept columns must hold text, numbers, booleans, dates, or lists and structs of these, got "
                f"{schema.field(column).type} in {column!r}. Leave it out of keep."
            )
        return kind

    def _column(self, schema: pa.Schema, option: str, column: str, file: PlannedFile) -> pa.DataType:
        if schema.get_field_index(column) < 0:
            raise ConfigError(
                f"{option} must name a column of {self._files.path(file.uri)}, got {column!r}; it has "
                f"{', '.join(schema.names)}; {nearest(column, schema.names)}"
            )
        return schema.field(column).type

    @cached_property
    def _image_base(self) -> tuple[fsspec.AbstractFileSystem, str] | None:
        if self.image_root is None:
            return None
        fs, path = fsspec.url_to_fs(self.image_root)
        return fs, str(path).rstrip("/")

    def _fetch(self, uri: str, row: PlannedFile) -> bytes:
        """Return the bytes a path in the image column names; nothing above the root is read."""
        file, _ = split_row(row.uri)
        fs, base = self._image_base or (self._files.fs, posixpath.dirname(self._files.path(file)))
        path = posixpath.normpath(posixpath.join(base or "/", uri))
        if "://" in uri or not path.startswith(f"{base}/"):
            raise SampleError(
                "outside_root",
                f"image path must lie below {base or '/'}, got {uri[:300]}. Set image_root to the folder paths start "
                f"from; lists of URLs are downloaded by img2dataset first.",
            )
        try:
            return bytes(fs.cat_file(path))
        except FileNotFoundError:
            raise SampleError(
                "source_gone", f"{path} must be there, {row.uri} names it. Put it there, then `onegen retry`."
            ) from None
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from error


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_image_struct(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)
