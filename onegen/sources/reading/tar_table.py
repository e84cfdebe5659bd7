"""Tars whose keys hold several pictures and words under names of their own: which member is which, and one key's parts.

A picture is a member by its part, `target.jpg` of `0001.target.jpg`. A text is a member too (`txt`), or a field of one
that is JSON: `json.prompt` is the field `prompt` of `0001.json`, `meta.json.prompt` that of `0001.meta.json`.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from onegen.config.bring import BringEntry
from onegen.errors import ConfigError, SampleError, nearest
from onegen.sample import Annotation, Provides
from onegen.shards.plan import LISTING, PlannedFile, PlannedItem
from onegen.sources.reading.bring import split_place, value_in
from onegen.sources.reading.columns import Pick, column_value, picked
from onegen.sources.reading.json_metadata import kept_annotation, provided_of
from onegen.sources.reading.metadata import METADATA, JsonTypes, field_name
from onegen.sources.reading.sidecar import sidecar_object, sidecar_text
from onegen.sources.reading.tar import key_and_part, split_member
from onegen.sources.reading.tars import END, PARTS, Tars, member_name, named_parts, planned_parts
from onegen.storage.spill import Spill, batched

_JSON = "json"


@dataclass(frozen=True)
class TarTable:
    """Tars read like a table, a key a row, by options as those of `Table`; `keep` names fields of `key.json`."""

    option: str
    pattern: str
    pictures: Mapping[str, str]
    texts: Mapping[str, str | None]
    phrases: Mapping[str, str | None]
    picks: Mapping[str, Pick]
    url: str | None = None
    keep: tuple[str, ...] = ()

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        return self.tars.files.tree.root

    @cached_property
    def tars(self) -> Tars:
        """The tars themselves."""
        return Tars(self.pattern, self.option)

    def provides(self) -> Mapping[str, Provides]:
        """What is kept: the column `metadata` with `url` and those of `keep`; raises ConfigError for unknown ones."""
        types: dict[str, pa.DataType] = {}
        if self.keep:
            said = JsonTypes()
            for tar in self.tars.files.present():
                for about in self.tars.objects(tar):
                    said.add(about, self.tars.files.tree.path(tar.uri))
            types = said.types()
        url = {"url": pa.string()} if self.url is not None else {}
        names = (*self.keep, *(name for name in url if name not in self.keep))
        return provided_of({**types, **url}, names, self.pattern)

    def listing(self, num_images: int) -> Iterator[pa.RecordBatch]:
        """Yield every key of every tar, and every place where one breaks off, as LISTING batches.

        Raises ConfigError for a member that no key has.
        """
        with Spill() as spill:
            parts = (row for tar in self.tars.listed() for row in self.tars.parts(tar))
            spill.store("parts", PARTS, batched(parts, PARTS))
            self._refuse_unknown(spill)
            rows = (r for b in spill.query("SELECT * FROM parts ORDER BY tar, key, start, part") for r in b.to_pylist())
            groups = itertools.groupby(rows, key=lambda row: (row["tar"], row["key"]))
            yield from batched((self._item(tar, key, list(group), num_images) for (tar, key), group in groups), LISTING)

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files, folders and members the last listing left out, by the reason why."""
        return self.tars.passed_over()

    def read(self, item: PlannedItem) -> "TarRow":
        """Return a key's parts; raises SampleError damaged_tar for the place where a tar breaks off."""
        planned = split_member(item.images[0].uri)
        if planned is not None and not planned[1].name:
            raise self.tars.damage(item.images[0], planned[0], planned[1].offset)
        return TarRow(self, item)

    def metadata(self, item: PlannedItem, provides: Mapping[str, Provides]) -> Mapping[str, Annotation | SampleError]:
        """Return what is kept of a key; raises SampleError as `TarRow` does, and bad_metadata."""
        if not provides:
            return {}
        row = self.read(item)
        known = {field_name(name): value for name, value in (row.json(_JSON) if self.keep else {}).items()}
        if self.url is not None:
            known["url"] = row.value(self.url)
        return {METADATA: kept_annotation(known, provides, item.item)}

    def check_brought(self, entries: Mapping[str, BringEntry]) -> None:
        """Raise nothing: which keys have a member is told by their rows."""

    def brought(self, item: PlannedItem, columns: Sequence[str], column: str, is_file: bool) -> Any:
        """Return what a member of an item's key says, or a field of one that is JSON; None where it has none.

        Raises SampleError as `Tars.member` does, and brought_value.
        """
        file = self.tars.part(item, split_place(column)[0])
        return value_in(member_name(file), self.tars.member(file), column) if file is not None else None

    @property
    def _members(self) -> dict[str, str]:
        """Return the part each option is read from."""
        words = {**self.texts, **self.phrases, "url": self.url}
        named = {**self.pictures, **{option: name for option, name in words.items() if name is not None}}
        return {option: split_place(name)[0] for option, name in named.items()}

    def _refuse_unknown(self, spill: Spill) -> None:
        rows = (row for batch in spill.query("SELECT DISTINCT part FROM parts") for row in batch.to_pylist())
        parts = sorted(row["part"] for row in rows)
        if END in parts:
            return  # what is missing may stand behind the damage
        for option, part in self._members.items():
            if part not in parts:
                raise ConfigError(
                    f"{option} must name a member of the keys in {self.pattern}, got {part!r}; they have "
                    f"{named_parts(parts)}; {nearest(part, parts)}"
                )

    def _item(self, tar: str, key: str, rows: list[dict[str, Any]], num_images: int) -> tuple[Any, ...]:
        """Return the row of `LISTING` of a key; one without its pictures has all parts, named when it fails."""
        if not key:
            return tar, planned_parts(rows[:1]), []
        pictures = [part.lower() for part in self.pictures.values()]
        images = [row for part in pictures for row in rows if row["part"] == part]
        words = {*self._members.values(), *((_JSON,) if self.keep else ())}.difference(pictures)
        is_whole = len({row["part"] for row in images}) == len(self.pictures)
        beside = [row for row in rows if (row["part"] in words if is_whole else row not in images)]
        images = images * num_images if len(images) == 1 and len(self.pictures) == 1 else images
        return f"{tar}#{key}", planned_parts(images or rows[:1]), planned_parts(beside)


@dataclass(frozen=True, slots=True)
class TarRow:
    """One key of a tar, asked by the options of the recipe."""

    table: TarTable
    item: PlannedItem

    def picture(self, option: str) -> bytes:
        """Return the bytes of a picture; raises SampleError `no_OPTION`, two_images, or as `Tars.member` does."""
        part = self.table.pictures[option].lower()
        files = self._named(part)
        if not files:
            names = ", ".join(dict.fromkeys(member_name(file) for file in (*self.item.images, *self.item.sidecars)))
            raise SampleError(f"no_{option}", f"{self.item.item} must have a member {part}, got {names}.")
        if len(set(files)) > 1:
            raise SampleError("two_images", f"{self.item.item} must have one member {part}, got {len(set(files))}.")
        return self.table.tars.member(files[0])

    def text(self, option: str) -> str | None:
        """Return a text, None where the key has none or it is not asked for; raises SampleError bad_sidecar."""
        name = self.table.texts[option]
        value = self.value(name) if name is not None else None
        if value is not None and not isinstance(value, str):
            raise SampleError(
                "bad_sidecar", f"{name} must be text or null, got {str(value)[:100]} in {self.item.item}."
            )
        return value or None

    def phrase(self, option: str) -> str | None:
        """Return a text, the one picked of a list; None where not asked for; raises SampleError `no_OPTION`."""
        name = self.table.phrases[option]
        if name is None:
            return None
        value = self.value(name)
        if isinstance(value, list):
            said = [entry if isinstance(entry, str) else None for entry in value]
            value = picked(said, self.table.picks[option], self.item.item)
        if not isinstance(value, str) or not value.strip():
            raise SampleError(f"no_{option}", f"{name} must say something, got {value!r:.60} in {self.item.item}.")
        return value

    def value(self, name: str) -> Any:
        """Return the text of a member, or what a field of one that is JSON says; None where there is none."""
        part, field = split_place(name)
        if field:
            about = self.json(part)
            try:
                return column_value(about, field)
            except KeyError:
                return None
        files = self._named(part)
        return sidecar_text(member_name(files[0]), self.table.tars.member(files[0])).strip() if files else None

    def json(self, part: str) -> dict[str, Any]:
        """Return the JSON object of a part, empty where the key has none; raises SampleError bad_sidecar."""
        files = self._named(part)
        return sidecar_object(member_name(files[0]), self.table.tars.member(files[0])) if files else {}

    def _named(self, part: str) -> Sequence[PlannedFile]:
        files = (*self.item.images, *self.item.sidecars)
        return [file for file in files if key_and_part(member_name(file))[1] == part]
