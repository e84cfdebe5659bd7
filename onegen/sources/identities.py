"""Identities: several pictures of one subject, person or not, from a folder each or from Parquet tables.

A folder below the root is a subject, and all pictures in it, however deep, are of it, ordered by their paths; captions
and licences stand beside them as in the source `folder`:

    {identities: ./people}                  # ./people/ada/1.jpg, ./people/ada/1.txt, ./people/ada/LICENCE

or a table has a picture a row and a column that names whom it shows; `onegen group` writes such a table:

    {identities: ./people/*.parquet, subject: subject, image: image, caption: caption}

`opt_out` is a text file with a subject a line, whose pictures are neither planned nor read. docs/build.md.
"""

import itertools
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import fsspec
import pyarrow as pa

from onegen.config.registry import register
from onegen.errors import ConfigError, SampleError
from onegen.sample import Annotation, Kind, Provides, SourceImage, SourceItem
from onegen.shards.plan import LISTING, PlannedFile, PlannedItem
from onegen.sources import OPTED_OUT
from onegen.sources.folder import Folder
from onegen.sources.reading.beside import is_licence, nearest_licence, suffixes_of
from onegen.sources.reading.rows import is_row, row_values, split_row, table_damage
from onegen.sources.reading.table import Table
from onegen.storage.spill import Spill, batched

_TABLES = (".parquet", ".pq")
_PICTURES = pa.schema(
    [
        ("subject", pa.string()),
        ("ordinal", pa.int64()),
        ("image", pa.string()),
        *((name, LISTING.field(name).type) for name in ("images", "sidecars")),
    ]
)
"""Pictures with their subject, in order."""
_BY_SUBJECT = "SELECT * FROM pictures ORDER BY subject, ordinal, image"
_LOOSE = "they lie in no subject's folder"
_NAMELESS = "their subject is null or blank"
_OUT = "their subjects opted out"
_PART = "#"
"""Between the name of a subject and the number of a part of it."""


@register("sources", "identities")
@dataclass(frozen=True)
class Identities:
    """Subjects in `identities`: a folder of folders, or Parquet (a file, a glob, a range; it ends with .parquet).

    Of tables `subject` and `image` name the columns, and `caption`, `licence` and `attribution` further ones; paths
    start from the table's folder or `image_root`. A subject with more than `max_images` pictures becomes several
    samples of nearly equal size. `opt_out` names a file with a subject a line (# begins a comment).
    """

    identities: str
    subject: str = "subject"
    image: str = "image"
    caption: str | None = None
    licence: str | None = None
    attribution: str | None = None
    image_root: str | None = None
    max_images: int = 32
    opt_out: str | None = None

    name: ClassVar[str] = "identities"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "identity"
    annotation_options: ClassVar[tuple[str, ...]] = ("opt_out",)
    provides: ClassVar[Mapping[str, Provides]] = {}

    def __post_init__(self) -> None:
        if self.max_images < 2:
            raise ConfigError(f"max_images must be at least 2, got {self.max_images}. OneDiffusion draws 2 to 5.")
        columns = [name for name in ("caption", "licence", "attribution", "image_root") if getattr(self, name)]
        if columns and not self._is_table:
            raise ConfigError(
                f"{columns[0]} must stand beside a table, got it with the folder {self.identities}, whose captions and "
                f"licences stand beside the pictures. Leave it out."
            )

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        return self._table.root if self._is_table else self._folder.root

    def listing(self) -> Iterator[pa.RecordBatch]:
        """Yield every subject, or part of one, as LISTING batches; raises ConfigError where nothing can be listed."""
        self._passed.clear()
        with Spill() as spill:
            pictures = self._table_pictures() if self._is_table else self._folder_pictures()
            spill.store("pictures", _PICTURES, batched(pictures, _PICTURES))
            rows = (row for batch in spill.query(_BY_SUBJECT) for row in batch.to_pylist())
            groups = itertools.groupby(rows, key=lambda row: str(row["subject"]))
            items = (item for subject, group in groups for item in self._parts(subject, list(group)))
            yield from batched(items, LISTING)

    def read(self, item: PlannedItem) -> SourceItem:
        """Return the pictures of a subject in order; a SampleError stands for one that cannot be read.

        Raises SampleError opted_out for a subject that is on the list by now, damaged_table for a table that is none.
        """
        if self._is_table and not is_row(item.images[0].uri):
            raise table_damage(self._table.tree, item.images[0])
        subject = subject_of(item.item)
        if subject in self.opted_out:
            raise SampleError(OPTED_OUT, f"{subject} is on the list {self.opt_out}.")
        return SourceItem(tuple(self._picture(item, file) for file in item.images), subject=subject)

    def annotations(self, item: PlannedItem) -> Mapping[str, Annotation | SampleError]:
        """Return nothing: identities bring no columns."""
        return {}

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files, rows and pictures the last listing left out, by the reason why."""
        of_files = self._table.passed_over() if self._is_table else self._folder.passed_over()
        return dict(Counter(of_files) + self._passed)

    @cached_property
    def opted_out(self) -> frozenset[str]:
        """The subjects whose pictures must not be used; raises ConfigError where the list cannot be read."""
        if self.opt_out is None:
            return frozenset()
        try:
            with fsspec.open(self.opt_out, "rt", encoding="utf-8-sig") as file:
                lines = [line.partition("#")[0].strip() for line in file]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"opt_out must be a text file with a subject a line, got {self.opt_out}: {error}. Without it nobody "
                f"knows whom to leave out."
            ) from error
        return frozenset(line for line in lines if line)

    def withdrawn(self, item: str) -> bool:
        """Say whether an item of the plan is of a subject that is on the list."""
        return subject_of(item) in self.opted_out

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to a worker: the options; no open file does."""
        return {option: getattr(self, option) for option in self.__dataclass_fields__}

    @property
    def _is_table(self) -> bool:
        return self.identities.lower().endswith(_TABLES)

    @cached_property
    def _passed(self) -> Counter[str]:
        return Counter()

    @cached_property
    def _folder(self) -> Folder:
        return Folder(self.identities)

    @cached_property
    def _table(self) -> Table:
        return Table(
            option="source identities",
            pattern=self.identities,
            pictures={"image": self.image},
            texts={"caption": self.caption, "licence": self.licence, "attribution": self.attribution},
            phrases={"subject": self.subject},
            image_root=self.image_root,
        )

    def _parts(self, subject: str, pictures: list[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
        """Yield the item of a subject, or those of its parts, as rows of LISTING."""
        if subject in self.opted_out:
            self._passed[_OUT] += len(pictures)
            return
        count = math.ceil(len(pictures) / self.max_images)
        for part in range(count):
            chosen = pictures[len(pictures) * part // count : len(pictures) * (part + 1) // count]
            images = [file for picture in chosen for file in picture["images"]]
            beside = {file["uri"]: file for picture in chosen for file in picture["sidecars"]}
            name = f"{subject}{_PART}{part:04d}" if count > 1 else subject
            yield name, images, [beside[uri] for uri in sorted(beside)]

    def _folder_pictures(self) -> Iterator[tuple[Any, ...]]:
        for batch in self._folder.listing():
            for row in batch.to_pylist():
                subject, _, below = row["item"].partition("/")
                if not below:
                    self._passed[_LOOSE] += 1
                    continue
                yield subject, 0, row["item"], row["images"], row["sidecars"]

    def _table_pictures(self) -> Iterator[tuple[Any, ...]]:
        ordinal = 0
        subjects: Iterator[Any] = iter(())
        current = None
        for batch in self._table.listing(1):
            for row in batch.to_pylist():
                if not is_row(row["item"]):
                    yield row["item"], ordinal, row["item"], row["images"], []
                    continue
                (image,) = row["images"]
                file, _ = split_row(image["uri"])
                if file != current:
                    planned = PlannedFile(file, image["size"], image["etag"])
                    current, subjects = file, row_values(self._table.tree, planned, self.subject)
                subject = next(subjects)
                if subject is None or not str(subject).strip():
                    self._passed[_NAMELESS] += 1
                    continue
                yield str(subject).strip(), ordinal, row["item"], row["images"], []
                ordinal += 1

    def _picture(self, item: PlannedItem, file: PlannedFile) -> SourceImage | SampleError:
        """Return one picture of a subject, or why it cannot be read."""
        try:
            return self._row(file) if self._is_table else self._file(item, file)
        except SampleError as error:
            return error

    def _row(self, file: PlannedFile) -> SourceImage:
        row = self._table.read(PlannedItem(0, file.uri, (file,), ()))
        caption, licence, attribution = (row.text(fact) for fact in ("caption", "licence", "attribution"))
        return SourceImage(row.picture("image"), caption, licence, attribution, uri=file.uri)

    def _file(self, item: PlannedItem, file: PlannedFile) -> SourceImage:
        licences = {os.path.dirname(beside.uri): beside for beside in item.sidecars if is_licence(beside.uri)}
        licence = nearest_licence(licences, file.uri)
        own = [beside for beside in item.sidecars if suffixes_of(file.uri, beside.uri) and not is_licence(beside.uri)]
        single = PlannedItem(0, file.uri, (file,), (*own, *([licence] if licence else [])))
        (image,) = self._folder.read(single).images
        if isinstance(image, SampleError):
            raise image
        return SourceImage(image.data, image.caption, image.licence, image.attribution, uri=file.uri)


def subject_of(item: str) -> str:
    """Return the subject of an item, which may be a part of it."""
    name, part, number = item.rpartition(_PART)
    return name if part and len(number) == 4 and number.isdigit() else item
