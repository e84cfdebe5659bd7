"""WebDataset tars, one image a key: what img2dataset downloads, and any other tar of `key.jpg`, `key.txt`, `key.json`.

Keys end at the first dot of the file name, as in webdataset: `a/b.c.jpg` is the part `c.jpg` of the key `a/b`. The plan
is made from the tars' headers alone, an item is `tar#key`, and its members are read at their offsets; a tar that has
changed since fails its rows. Nothing vanishes: img2dataset's table beside a tar (`00007.parquet`) names what could not
be downloaded, and each such row is planned and fails as `download_failed`; a tar that breaks off adds one row that
fails as `damaged_tar`. Files without a key (no extension, hidden) are passed over, as webdataset does, and counted.
"""

import contextlib
import dataclasses
import itertools
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, BinaryIO, ClassVar, cast

import pyarrow as pa

from onegen.config.bring import BRING, BringEntry
from onegen.config.registry import register
from onegen.errors import ConfigError, SampleError, nearest
from onegen.pixels.upright import SUFFIXES
from onegen.sample import Annotation, Kind, Provides, SourceImage, SourceItem
from onegen.shards.plan import LISTING, PlannedFile, PlannedItem
from onegen.sources.reading.bring import BringsFiles, split_place, value_in
from onegen.sources.reading.downloads import Downloads
from onegen.sources.reading.files import Files
from onegen.sources.reading.metadata import METADATA, JsonTypes, KeptTypes, check_kept, field_name, json_value, provided
from onegen.sources.reading.sidecar import FACTS, sidecar_facts, sidecar_object, sidecar_text
from onegen.sources.reading.tar import (
    LOST,
    PLAIN,
    SPARSE,
    DamagedTar,
    TarMember,
    key_and_part,
    member_uri,
    members,
    read_sparse,
    split_member,
)
from onegen.sources.reading.tar_index import TarIndex
from onegen.sources.reading.tree import FileTree, unreadable
from onegen.storage.spill import BATCH_ROWS, Spill

IMAGES = tuple(suffix.removeprefix(".") for suffix in SUFFIXES)
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")
_SPARSE_BYTES = 1 << 30
"""No picture is larger; what is, is a hole that a few bytes of tar blow up to any size."""
_SAID_ELSEWHERE = ("caption", "status", "error_message")
"""Not kept unless asked for: the caption is in the image column, the others in what became of the row."""
_PARTS = pa.schema(
    [
        ("tar", pa.string()),
        ("key", pa.string()),
        ("part", pa.string()),
        ("start", pa.int64()),
        ("uri", pa.string()),
        ("size", pa.int64()),
        ("etag", pa.string()),
    ]
)
_ROW, _END = "/row", "/end"
"""Parts that are no members, whose parts have no slash: a row of the table beside a tar, the end of a damaged tar."""


@register("sources", "webdataset")
@dataclass(frozen=True)
class WebDataset(BringsFiles):
    """Images in `webdataset`: a tar, a glob, a folder or a range ({00000..00041}.tar), local or any fsspec URL.

    `image` names the part that is the image (such as `image.jpg`; null: the one part that is jpg, png, webp, ...),
    `caption` the part that is its caption. `key.json` may say caption, licence and attribution. `keep` lists what else
    of it becomes the column `metadata`; null keeps all. Its types hold what all tables beside the tars say, and all
    samples of tars without one: every build that starts looks at them, unless `keep` is empty. `bring` names columns
    and the parts that hold them: {depth: depth.png, boxes: json.objects}.
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

    def __getstate__(self) -> dict[str, Any]:
        # What it provides travels to the workers, who would have to look at the first tar again.
        known = {name: self.__dict__[name] for name in ("provides",) if name in self.__dict__}
        return {option.name: getattr(self, option.name) for option in dataclasses.fields(self)} | known

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        return self._tree.root

    @cached_property
    def provides(self) -> Mapping[str, Provides]:
        """What is kept of each `key.json`: the column `metadata`; raises ConfigError for a kept name nobody says."""
        if self.keep is not None and not self.keep:
            return {}
        types = self._types()
        unknown = [name for name in self.keep or () if name not in types]
        if unknown:
            raise ConfigError(
                f"keep must name what the JSON in {self.webdataset} says, got {unknown[0]!r}; "
                f"{nearest(unknown[0], list(types))}"
            )
        names = self.keep if self.keep is not None else [name for name in types if name not in _SAID_ELSEWHERE]
        return provided({name: types[name] for name in names})

    def listing(self) -> Iterator[pa.RecordBatch]:
        """Yield an item per key, per failed download and per damaged tar, as LISTING batches; raises ConfigError."""
        with Spill() as spill:
            spill.store("parts", _PARTS, _batched(self._parts(), _PARTS))
            batches = spill.query("SELECT * FROM parts ORDER BY tar, key, start, part")
            rows = (row for batch in batches for row in batch.to_pylist())
            groups = itertools.groupby(rows, key=lambda row: (row["tar"], row["key"]))
            yield from _batched((self._item(tar, key, list(parts)) for (tar, key), parts in groups), LISTING)

    def read(self, item: PlannedItem) -> SourceItem:
        """Return an item's bytes, and what its caption and JSON say.

        Raises SampleError: source_gone, source_changed or source_unreadable; download_failed or not_in_tar for a row of
        the table beside a tar; damaged_tar for the place where one breaks off; two_images or no_image for a key with
        another number of images than one; lost_link, too_sparse, bad_sidecar.
        """
        planned = split_member(item.images[0].uri)
        if planned is None:
            raise self._downloads.failure(item.images[0], item.item)
        tar, member = planned
        if not member.name:
            raise self._damage(item.images[0], tar, member.offset)
        if len(item.images) > 1:
            names = ", ".join(_name(file) for file in item.images)
            raise SampleError("two_images", f"key must have one image, got {names} in {tar}. Name the one in `image`.")
        if not self._is_image(key_and_part(member.name)[1]):
            raise SampleError("no_image", f"key must have an image, got {member.name} and none in {tar}.")
        data = self._member(item.images[0])
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
        about = sidecar_object(_name(file), self._member(file))
        known = {field_name(name): value for name, value in about.items()}
        fields = self.provides[METADATA].fields
        values = {name: json_value(known.get(name), kind) for name, kind in fields.items()}
        for name, kind in fields.items():
            check_kept(name, values[name], kind, item.item)
        return {METADATA: Annotation(values)}

    def brought(self, item: PlannedItem, entry: BringEntry, is_file: bool, is_retry: bool = False) -> tuple[Any, ...]:
        """Return what a part of an item's key says, None where it has none; its tar must be as planned.

        Raises SampleError source_gone, source_changed, source_unreadable, lost_link, too_sparse or brought_value.
        """
        (place,) = entry.places
        suffix, _ = split_place(place)
        file = next((file for file in item.sidecars if key_and_part(_name(file))[1] == suffix), None)
        file = file or self._index.find(item, suffix)
        return (value_in(_name(file), self._member(file), place) if file is not None else None,)

    @cached_property
    def _index(self) -> TarIndex:
        return TarIndex(self._tree)

    @cached_property
    def _files(self) -> Files:
        reason = "compressed tars are not read, members are read at their offsets: unpack them to .tar"
        return Files(self.webdataset, (".tar",), "source webdataset", dict.fromkeys(_COMPRESSED, reason))

    @cached_property
    def _keyless(self) -> Counter[str]:
        """How many members were left out when they were last listed, by the reason why."""
        return Counter()

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files, folders and members the last listing left out, by the reason why."""
        return dict(self._files.passed + self._keyless)

    @property
    def _tree(self) -> FileTree:
        return self._files.tree

    @cached_property
    def _downloads(self) -> Downloads:
        return Downloads(self._tree)

    def _is_image(self, part: str) -> bool:
        return part == self.image.lower() if self.image is not None else part in {*IMAGES} - self.suffixes

    def _types(self) -> dict[str, pa.DataType]:
        """Return names and types of what the JSON of all tars says, by the tables beside them where there are any."""
        types, said = KeptTypes(), JsonTypes()
        for tar in self._files.present():
            table = self._downloads.beside(tar.uri)
            if table is not None:
                for name, kind in self._downloads.types(table).items():
                    types.add(name, kind, self._tree.path(table.uri))
                continue
            for about in self._objects(tar):
                said.add(about, self._tree.path(tar.uri))
        for name, kind in said.types().items():
            types.add(name, kind, f"the JSON of {self.webdataset}")
        return types.settled()

    def _objects(self, tar: PlannedFile) -> Iterator[dict[str, Any]]:
        with contextlib.suppress(DamagedTar), self._open(tar) as file:
            for member in members(file, tar.size, Counter()):
                if key_and_part(member.name)[1] == "json" and member.form == PLAIN:
                    # Headers are looked up by their offsets, so the file may be read in between.
                    file.seek(member.offset)
                    with contextlib.suppress(SampleError):
                        yield sidecar_object(member.name, file.read(member.size))

    def _open(self, tar: PlannedFile) -> BinaryIO:
        try:
            return cast(BinaryIO, self._tree.fs.open(self._tree.path(tar.uri), "rb"))
        except OSError as error:
            raise ConfigError(
                f"{self._tree.path(tar.uri)} must be readable: {error}. Give yourself permission, or move it away."
            ) from error

    def _parts(self) -> Iterator[tuple[Any, ...]]:
        """Yield what there is of every key as rows of `_PARTS`, one tar after the other."""
        self._keyless.clear()
        for tar in self._files.listed():
            etag = f"{tar.size}:{tar.etag}"
            try:
                with self._open(tar) as file:
                    for member in members(file, tar.size, self._keyless):
                        key, part = key_and_part(member.name)
                        uri = member_uri(tar.uri, member)
                        if not key:
                            self._keyless["their names in the tar have no suffix, or are hidden"] += 1
                        else:
                            yield tar.uri, key, part, member.offset, uri, member.size, etag
            except DamagedTar as damage:
                end = TarMember("", damage.offset, 0)
                yield tar.uri, "", _END, end.offset, member_uri(tar.uri, end), 0, etag
            table = self._downloads.beside(tar.uri)
            if table is not None:
                for key, uri in self._downloads.rows(table):
                    yield tar.uri, key, _ROW, 0, uri, table.size, table.etag

    def _item(self, tar: str, key: str, rows: list[dict[str, Any]]) -> tuple[Any, ...]:
        """Return the row of `LISTING` of a key, given what there is of it, in the order of the tar."""
        parts = [row for row in rows if row["part"] != _ROW] or rows
        images = [row for row in parts if self._is_image(row["part"])]
        beside = [row for row in parts if images and row["part"] in (self.caption.lower(), "json", *self.suffixes)]
        # A key without an image is planned by its first part, so that it fails by name.
        return f"{tar}#{key}" if key else tar, _planned(images or parts[:1]), _planned(beside)

    def _member(self, file: PlannedFile) -> bytes:
        """Return the bytes of a member, if its tar is still the planned one."""
        tar, member = split_member(file.uri, file.size) or (file.uri, TarMember("", 0, file.size))
        self._check(file, tar)
        return self._bytes(tar, member)

    def _bytes(self, tar: str, member: TarMember) -> bytes:
        """Return the bytes of a member; raises SampleError source_unreadable, lost_link or too_sparse."""
        path = self._tree.path(tar)
        if member.form == LOST:
            raise SampleError(
                "lost_link",
                f"{member.name} must be a hard link to a file before it in {path}, which has none. Mend it.",
            )
        if member.form == SPARSE and member.size > _SPARSE_BYTES:
            raise SampleError(
                "too_sparse", f"{member.name} must have at most {_SPARSE_BYTES:,} bytes, got {member.size:,} in {path}."
            )
        try:
            if member.form == SPARSE:
                with self._tree.fs.open(path, "rb") as opened:
                    data = read_sparse(opened, member.offset)
            else:
                end = member.offset + member.size
                data = bytes(self._tree.fs.cat_file(path, start=member.offset, end=end))
        except (OSError, ValueError, tarfile.TarError) as error:
            raise unreadable(path, error) from error
        if len(data) != member.size:
            raise unreadable(path, EOFError(f"{member.name} must have {member.size} bytes, got {len(data)}"))
        return data

    def _check(self, part: PlannedFile, tar: str) -> None:
        size, _, etag = part.etag.partition(":")
        self._tree.check(PlannedFile(tar, int(size), etag))

    def _facts(self, item: PlannedItem) -> dict[str, str]:
        """Return caption, licence and attribution; a caption of its own part goes before what the JSON says.

        JSON that cannot be read fails the image: it may hold a licence.
        """
        facts: dict[str, str] = {}
        for file in item.sidecars:
            if key_and_part(_name(file))[1] == self.caption.lower():
                text = sidecar_text(_name(file), self._member(file))
                facts |= {"caption": text} if text.strip() else {}
        about = self._json_member(item)
        if about is not None and not self.is_list(data := self._member(about)):
            facts |= sidecar_facts(_name(about), data, [fact for fact in FACTS if fact not in facts])
        return facts

    def _json_member(self, item: PlannedItem) -> PlannedFile | None:
        return next((file for file in item.sidecars if key_and_part(_name(file))[1] == "json"), None)

    def _damage(self, end: PlannedFile, tar: str, offset: int) -> SampleError:
        self._check(end, tar)
        return SampleError(
            "damaged_tar",
            f"{self._tree.path(tar)} must be a whole, uncompressed tar, it breaks off at byte {offset:,}. What stands "
            f"before was planned; for the rest, mend it and build into a new OUT.",
        )


def _batched(rows: Iterable[tuple[Any, ...]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield rows as record batches."""
    rows = iter(rows)
    while batch := list(itertools.islice(rows, BATCH_ROWS)):
        columns = zip(*batch, strict=True)
        yield pa.RecordBatch.from_arrays(
            [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
        )


def _planned(parts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of `_PARTS` as the files of a plan."""
    return [{field: part[field] for field in ("uri", "size", "etag")} for part in parts]


def _name(file: PlannedFile) -> str:
    """Return the name of a planned member in its tar."""
    planned = split_member(file.uri)
    return planned[1].name if planned else file.uri
