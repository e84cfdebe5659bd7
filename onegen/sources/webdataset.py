"""WebDataset tars, one image a key: what img2dataset downloads, and any other tar of `key.jpg`, `key.txt`, `key.json`.

Keys end at the first dot of the file name, as in webdataset: `a/b.c.jpg` is the part `c.jpg` of the key `a/b`. The plan
is made from the tars' headers alone, an item is `tar#key`, and its members are read at their offsets; a tar that has
changed since fails its rows. Nothing vanishes: img2dataset's table beside a tar (`00007.parquet`) names what could not
be downloaded, and each such row is planned and fails as `download_failed`; a table that is no Parquet adds one row that
fails as `damaged_table`, a tar that breaks off one that fails as `damaged_tar`. Files without a key (no extension,
hidden) are passed over, as webdataset does, and counted.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa

from onegen.config.bring import BRING, BringEntry
from onegen.config.registry import register
from onegen.errors import ConfigError, SampleError
from onegen.pixels.upright import SUFFIXES
from onegen.sample import Annotation, Kind, Provides, SourceImage, SourceItem
from onegen.shards.plan import LISTING, PlannedFile, PlannedItem
from onegen.sources.reading.bring import BringsFiles, split_place, value_in
from onegen.sources.reading.downloads import Downloads
from onegen.sources.reading.json_metadata import json_annotation, provided_of
from onegen.sources.reading.looking import Looks
from onegen.sources.reading.metadata import METADATA, JsonTypes, KeptTypes
from onegen.sources.reading.sidecar import FACTS, sidecar_facts, sidecar_text
from onegen.sources.reading.tar import key_and_part, split_member
from onegen.sources.reading.tars import END, PARTS, ROW, Tars, member_name, named_parts, planned_parts
from onegen.sources.reading.tree import FileTree
from onegen.storage.spill import Spill, batched

IMAGES = tuple(suffix.removeprefix(".") for suffix in SUFFIXES)


@register("sources", "webdataset")
@dataclass(frozen=True)
class WebDataset(Looks, BringsFiles):
    """Images in `webdataset`: a tar, a glob, a folder or a range ({00000..00041}.tar), local or any fsspec URL.

    `image` names the part that is the image (such as `image.jpg`; null: the one part that is jpg, png, webp, ...),
    `caption` the part that is its caption. `key.json` may say caption, licence and attribution. `keep` lists what else
    of it becomes the column `metadata`; null keeps all. Its types hold what all tables beside the tars say, and all
    samples of tars without one: they are read when the plan is made, unless `keep` is empty. `bring` names columns and
    the parts that hold them: {depth: depth.png, boxes: json.objects}.
    """

    webdataset: str
    image: str | None = None
    caption: str = "txt"
    keep: tuple[str, ...] | None = None
    bring: Mapping[str, Any] = field(default_factory=dict)

    name: ClassVar[str] = "webdataset"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "image"
    is_listing_cheap: ClassVar[bool] = False
    annotation_options: ClassVar[tuple[str, ...]] = ("keep", BRING)

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        return self._tree.root

    def look(self) -> Mapping[str, Provides]:
        """Return what is kept of each `key.json`: the column `metadata`; raises ConfigError for names nobody says."""
        if self.keep is not None and not self.keep:
            return {}
        return provided_of(self._types(), self.keep, self.webdataset)

    def listing(self) -> Iterator[pa.RecordBatch]:
        """Yield an item per key, per failed download and per damaged tar, as LISTING batches.

        Raises ConfigError, also where tars have members and no key of theirs a picture.
        """
        with Spill() as spill:
            spill.store("parts", PARTS, batched(self._parts(), PARTS))
            self._refuse_pictureless(spill)
            batches = spill.query("SELECT * FROM parts ORDER BY tar, key, start, part")
            rows = (row for batch in batches for row in batch.to_pylist())
            groups = itertools.groupby(rows, key=lambda row: (row["tar"], row["key"]))
            yield from batched((self._item(tar, key, list(parts)) for (tar, key), parts in groups), LISTING)

    def read(self, item: PlannedItem) -> SourceItem:
        """Return an item's bytes, and what its caption and JSON say.

        Raises SampleError: source_gone, source_changed or source_unreadable; download_failed or not_in_tar for a row of
        the table beside a tar, damaged_table for such a table; damaged_tar for the place where a tar breaks off;
        two_images or no_image for a key with another number of images than one; lost_link, too_sparse, bad_sidecar.
        """
        planned = split_member(item.images[0].uri)
        if planned is None:
            raise self._downloads.failure(item.images[0], item.item)
        tar, member = planned
        if not member.name:
            raise self._tars.damage(item.images[0], tar, member.offset)
        if len(item.images) > 1:
            names = ", ".join(member_name(file) for file in item.images)
            raise SampleError("two_images", f"key must have one image, got {names} in {tar}. Name the one in `image`.")
        if not self._is_image(key_and_part(member.name)[1]):
            raise SampleError("no_image", f"key must have an image, got {member.name} and none in {tar}.")
        data = self._tars.member(item.images[0])
        facts = self._facts(item)
        image = SourceImage(data, facts.get("caption"), facts.get("licence"), facts.get("attribution"))
        return SourceItem((image,))

    def annotations(self, item: PlannedItem) -> Mapping[str, Annotation | SampleError]:
        """Return what is kept of an item's JSON, nothing where it has none.

        Raises SampleError as `read` does, and bad_metadata for a value that does not fit its field.
        """
        file = self._json_member(item) if self.provides else None
        if file is None:
            return {}
        return {METADATA: json_annotation(member_name(file), self._tars.member(file), self.provides, item.item)}

    def brought(self, item: PlannedItem, entry: BringEntry, is_file: bool) -> tuple[Any, ...]:
        """Return what a part of an item's key says, None where it has none; its tar must be as planned.

        Raises SampleError source_gone, source_changed, source_unreadable, lost_link, too_sparse or brought_value.
        """
        (place,) = entry.places
        suffix, _ = split_place(place)
        file = next((file for file in item.sidecars if key_and_part(member_name(file))[1] == suffix), None)
        file = file or self._tars.part(item, suffix)
        return (value_in(member_name(file), self._tars.member(file), place) if file is not None else None,)

    @cached_property
    def _tars(self) -> Tars:
        return Tars(self.webdataset, "source webdataset")

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files, folders and members the last listing left out, by the reason why."""
        return self._tars.passed_over()

    def _parts(self) -> Iterator[tuple[Any, ...]]:
        """Yield what there is of every key as rows of `PARTS`, one tar after the other."""
        for tar in self._tars.listed():
            yield from self._tars.parts(tar)
            table = self._downloads.beside(tar.uri)
            if table is not None:
                for key, uri in self._downloads.rows(table):
                    yield tar.uri if key else uri, key, ROW, 0, uri, table.size, table.etag

    @property
    def _tree(self) -> FileTree:
        return self._tars.files.tree

    @cached_property
    def _downloads(self) -> Downloads:
        return Downloads(self._tree)

    def _is_image(self, part: str) -> bool:
        return part == self.image.lower() if self.image is not None else part in {*IMAGES} - self.suffixes

    def _types(self) -> dict[str, pa.DataType]:
        """Return names and types of what the JSON of all tars says, by the tables beside them where there are any."""
        types, said = KeptTypes(), JsonTypes()
        for tar in self._tars.files.present():
            table = self._downloads.beside(tar.uri)
            table_types = self._downloads.types(table) if table is not None else None
            if table is not None and table_types is not None:
                for name, kind in table_types.items():
                    types.add(name, kind, self._tree.path(table.uri))
                continue
            for about in self._tars.objects(tar):
                said.add(about, self._tree.path(tar.uri))
        for name, kind in said.types().items():
            types.add(name, kind, f"the JSON of {self.webdataset}")
        return types.settled()

    def _refuse_pictureless(self, spill: Spill) -> None:
        """Raise ConfigError where whole tars have members and no picture: every row would fail, after the whole run."""
        batches = spill.query(f"SELECT part FROM parts WHERE part <> '{ROW}' GROUP BY part ORDER BY part")
        parts = [row["part"] for batch in batches for row in batch.to_pylist()]
        found = [part for part in parts if self._is_image(part)]
        if not parts or END in parts or found:
            if END not in parts:
                self._refuse_ambiguous(spill, found)
            return
        pictures = [part for part in parts if part.rpartition(".")[2] in IMAGES]
        way_out = f"Name the picture, image: {pictures[0]}" if pictures else "Check that these tars hold pictures"
        raise ConfigError(
            f"source webdataset must have a picture a key, under {self.image or 'jpg, png, webp or the like'}, got "
            f"only {named_parts(parts)} in {self.webdataset}. {way_out}; two of a key are for the source pairs."
        )

    def _refuse_ambiguous(self, spill: Spill, pictures: list[str]) -> None:
        """Raise ConfigError where every key with a picture has several: every row would fail, after the whole run."""
        if len(pictures) < 2:  # one picture twice is a fault of its key
            return
        named = ", ".join(f"'{part.replace(chr(39), chr(39) * 2)}'" for part in pictures)
        batches = spill.query(
            f"SELECT count(*) FILTER (pictures = 1) AS single FROM (SELECT count(*) AS pictures FROM parts "
            f"WHERE part IN ({named}) GROUP BY tar, key)"
        )
        (row,) = (row for batch in batches for row in batch.to_pylist())
        if row["single"] == 0:
            raise ConfigError(
                f"source webdataset must have one picture a key, got {named_parts(pictures)} in every key of "
                f"{self.webdataset}. Name the picture, image: {pictures[0]}; two of a key are for the source pairs."
            )

    def _item(self, tar: str, key: str, rows: list[dict[str, Any]]) -> tuple[Any, ...]:
        """Return the row of `LISTING` of a key, given what there is of it, in the order of the tar."""
        parts = [row for row in rows if row["part"] != ROW] or rows
        images = [row for row in parts if self._is_image(row["part"])]
        beside = [row for row in parts if images and row["part"] in (self.caption.lower(), "json", *self.suffixes)]
        # A key without an image is planned by its first part, so that it fails by name.
        return f"{tar}#{key}" if key else tar, planned_parts(images or parts[:1]), planned_parts(beside)

    def _facts(self, item: PlannedItem) -> dict[str, str]:
        """Return caption, licence and attribution; a caption of its own part goes before what the JSON says.

        JSON that cannot be read fails the image: it may hold a licence.
        """
        facts: dict[str, str] = {}
        for file in item.sidecars:
            if key_and_part(member_name(file))[1] == self.caption.lower():
                text = sidecar_text(member_name(file), self._tars.member(file))
                facts |= {"caption": text} if text.strip() else {}
        about = self._json_member(item)
        if about is not None and not self.is_list(data := self._tars.member(about)):
            facts |= sidecar_facts(member_name(about), data, [fact for fact in FACTS if fact not in facts])
        return facts

    def _json_member(self, item: PlannedItem) -> PlannedFile | None:
        return next((file for file in item.sidecars if key_and_part(member_name(file))[1] == "json"), None)
