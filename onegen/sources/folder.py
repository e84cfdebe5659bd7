"""A folder of image files, searched recursively, with captions and licences beside them.

`photo.jpg` may have `photo.txt` or `photo.jpg.txt` (its caption) and `photo.json` or `photo.jpg.json` (an object with
any of caption, licence, attribution). A file LICENCE or LICENSE (with or without .txt or .md) holds for its folder
and those below: its first line is the licence's name, its second line, if any, the attribution. Hidden files and
folders are passed over.

A folder 00007 with a table 00007.parquet beside it is what img2dataset leaves of a shard of files: what the table says
could not be downloaded is planned and fails as `download_failed`, and what it says of the pictures (in the JSON beside
each) becomes the column `metadata`.
"""

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import fsspec
import pyarrow as pa

from onegen.config.registry import register
from onegen.errors import ConfigError, SampleError
from onegen.pixels.upright import SUFFIXES
from onegen.sample import Annotation, Kind, Provides, SourceImage, SourceItem
from onegen.shards.plan import LISTING, PlannedFile, PlannedItem
from onegen.sources.reading.coco import Coco, Pick
from onegen.sources.reading.downloads import SUFFIX as TABLE_SUFFIX
from onegen.sources.reading.downloads import Downloads
from onegen.sources.reading.json_metadata import json_annotation, provided_of
from onegen.sources.reading.metadata import METADATA, KeptTypes
from onegen.sources.reading.sidecar import sidecar_facts, sidecar_text
from onegen.sources.reading.tree import FileTree
from onegen.storage.spill import BATCH_ROWS, Spill, batched

SIDECARS = (".txt", ".json")
_TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_UNREAD = (
    ".arw", ".bpg", ".cr2", ".cr3", ".dng", ".eps", ".exr", ".hdr", ".heic", ".heif", ".ico", ".jxl", ".jxr", ".nef",
    ".orf", ".pcx", ".pdf", ".psd", ".raf", ".raw", ".rw2", ".svg", ".wmf",
)  # fmt: skip
"""How pictures may be called that cannot be opened."""
_LICENCE = re.compile(r"licen[cs]e(\.txt|\.md)?", re.IGNORECASE)
_FILES = pa.schema(
    [
        ("path", pa.string()),
        ("stem", pa.string()),
        ("is_image", pa.bool_()),
        ("size", pa.int64()),
        ("etag", pa.string()),
    ]
)
_DOWNLOADS = pa.schema([("item", pa.string()), ("uri", pa.string()), ("size", pa.int64()), ("etag", pa.string())])
"""What the tables of downloads list; an item is named like its picture, but for the extension."""
_PAIRED = """
WITH beside AS (
    SELECT stem, nfc_normalize(stem) AS plain, {'uri': path, 'size': size, 'etag': etag} AS file
    FROM files WHERE NOT is_image),
exact AS (SELECT stem AS name, list(file ORDER BY file.uri) AS files FROM beside GROUP BY stem),
alike AS (SELECT plain AS name, list(file ORDER BY file.uri) AS files FROM beside GROUP BY plain)
SELECT image.path AS item, [{'uri': image.path, 'size': image.size, 'etag': image.etag}] AS images,
       list_concat(coalesce(stem.files, stem_alike.files, []), coalesce(path.files, path_alike.files, [])) AS sidecars
FROM files AS image
LEFT JOIN exact AS stem ON stem.name = image.stem
LEFT JOIN exact AS path ON path.name = image.path
LEFT JOIN alike AS stem_alike ON stem_alike.name = nfc_normalize(image.stem)
LEFT JOIN alike AS path_alike ON path_alike.name = nfc_normalize(image.path)
WHERE image.is_image
UNION ALL BY NAME
SELECT item, [{'uri': any_value(uri), 'size': any_value(size), 'etag': any_value(etag)}] AS images, [] AS sidecars
FROM downloads WHERE item NOT IN (SELECT stem FROM files WHERE is_image) GROUP BY item
"""
"""Names are paired as they are written; failing that as they look: macOS and its archives decompose accents."""
_ALONE = """
SELECT count(*) AS files FROM files WHERE NOT is_image AND nfc_normalize(stem) NOT IN (
    SELECT nfc_normalize(stem) FROM files WHERE is_image UNION SELECT nfc_normalize(path) FROM files WHERE is_image)
"""


@register("sources", "folder")
@dataclass(frozen=True)
class Folder:
    """Images under `folder`, a path or fsspec URL; `sidecars: false` ignores captions and licences beside them.

    `keep` lists what img2dataset says of its downloads that becomes the column `metadata`; null keeps all. `coco` names
    a COCO JSON by its path in the folder: captions, of which `pick` chooses one, licences and Flickr pages are its.
    """

    folder: str
    sidecars: bool = True
    keep: tuple[str, ...] | None = None
    coco: str | None = None
    pick: Pick = "first"

    name: ClassVar[str] = "folder"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "image"
    annotation_options: ClassVar[tuple[str, ...]] = ("keep",)

    def __post_init__(self) -> None:
        if self.coco is None:
            return
        if os.path.normpath(self.coco) != self.coco or self.coco.startswith(("/", "..")):
            raise ConfigError(
                f"coco must be a path below the folder, as annotations/captions_train2017.json, got {self.coco!r}. "
                f"Take the folder that holds both pictures and annotations."
            )
        if not self.sidecars:
            raise ConfigError("coco must stand with sidecars: true, got sidecars: false, which ignores it.")

    @cached_property
    def _tree(self) -> FileTree:
        fs, path = fsspec.url_to_fs(self.folder)
        return FileTree(fs, str(path).rstrip("/"))

    def __getstate__(self) -> dict[str, Any]:
        known = {name: self.__dict__[name] for name in ("provides",) if name in self.__dict__}
        return {option.name: getattr(self, option.name) for option in dataclasses.fields(self)} | known

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        return self._tree.root

    @cached_property
    def provides(self) -> Mapping[str, Provides]:
        """What img2dataset says of its downloads: the column `metadata`, none of other folders.

        Raises ConfigError for a kept name that no table has.
        """
        types = KeptTypes()
        for table in self._tables() if self.sidecars else ():
            for name, kind in (self._downloads.types(table) or {}).items():
                types.add(name, kind, self._tree.path(table.uri))
        settled = types.settled()
        return provided_of(settled, self.keep, self.folder) if settled or self.keep else {}

    def listing(self) -> Iterator[pa.RecordBatch]:
        """Yield what there is, unsorted, as LISTING batches; raises ConfigError for a folder that cannot be read."""
        licences: dict[str, PlannedFile] = {}
        self._passed.clear()
        coco = self._planned_coco()
        named_by = self._coco(coco) if coco is not None else None
        named: set[str | None] = set(named_by.file_names) if named_by is not None else set()
        with Spill() as spill:
            spill.store("files", _FILES, self._files(licences))
            spill.store("downloads", _DOWNLOADS, batched(self._listed_downloads(), _DOWNLOADS))
            for batch in spill.query(_PAIRED):
                rows = batch.to_pylist()
                for row in rows:
                    licence = _nearest(licences, row["item"])
                    beside = [file.record() for file in (licence, coco) if file is not None]
                    files = [*row["sidecars"], *beside]
                    row["sidecars"] = files if self.sidecars else []
                    named.discard(named_by.file_name(row["item"]) if named_by is not None else None)
                yield pa.RecordBatch.from_pylist(rows, schema=LISTING)
            if named:
                self._passed["the COCO JSON names them and they are not there"] += len(named)
            if self.sidecars:
                (alone,) = (row for batch in spill.query(_ALONE) for row in batch.to_pylist())
                if alone["files"]:
                    self._passed["they are captions or JSON beside no image"] += alone["files"]

    def read(self, item: PlannedItem) -> SourceItem:
        """Return an item's bytes and what stands beside it.

        Raises SampleError source_gone, source_changed, source_unreadable or bad_sidecar; download_failed, not_in_folder
        or damaged_table for what only img2dataset's table has.
        """
        (file,) = item.images
        if not _is_picture(file.uri):
            raise self._downloads.failure(file, item.item, "folder")
        data = self._tree.read(file)
        facts: dict[str, str] = {}
        # Weakest first: the folder's licence, then COCO's, then the caption file, then the item's own JSON.
        for beside in sorted(item.sidecars, key=self._strength):
            if beside.uri == self.coco:
                facts.update(self._coco(beside).annotations_of(file.uri).facts(self.pick))
            else:
                facts.update(_facts(beside.uri, self._tree.read(beside)))
        image = SourceImage(data, facts.get("caption"), facts.get("licence"), facts.get("attribution"))
        return SourceItem((image,))

    def annotations(self, item: PlannedItem) -> Mapping[str, Annotation | SampleError]:
        """Return what is kept of the JSON beside a download; nothing where there is none.

        Raises SampleError as `read` does of that JSON, and bad_metadata for a value that does not fit its field.
        """
        texts = [file for file in item.sidecars if _is_json(file.uri) and file.uri != self.coco]
        beside = next(iter(texts), None) if self.provides else None
        if beside is None:
            return {}
        return {METADATA: json_annotation(beside.uri, self._tree.read(beside), self.provides, item.item)}

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files and folders the last listing left out, by the reason why."""
        return dict(self._passed)

    @cached_property
    def _passed(self) -> Counter[str]:
        return Counter()

    def _strength(self, beside: PlannedFile) -> tuple[bool, bool, bool]:
        return not _is_licence(beside.uri), beside.uri != self.coco, _is_json(beside.uri)

    def _planned_coco(self) -> PlannedFile | None:
        """Return the COCO JSON as it is now; raises ConfigError where it is not there or is none."""
        if self.coco is None:
            return None
        try:
            file = PlannedFile(self.coco, *self._tree.state(self.coco))
            self._coco(file)
        except (OSError, SampleError) as error:
            raise ConfigError(
                f"coco must name a COCO JSON by its path in {self.folder}, got {self.coco!r}: {error}"
            ) from error
        return file

    def _coco(self, file: PlannedFile) -> Coco:
        """Return what a COCO JSON says, read once; raises SampleError where it has changed."""
        self._tree.check(file)
        if file not in self._read_coco:
            self._read_coco[file] = Coco(file.uri, self._tree.read(file))
        return self._read_coco[file]

    @cached_property
    def _read_coco(self) -> dict[PlannedFile, Coco]:
        return {}

    @cached_property
    def _downloads(self) -> Downloads:
        return Downloads(self._tree)

    def _tables(self) -> Iterator[PlannedFile]:
        """Yield the tables img2dataset left in the folder itself, beside the folders of their pictures."""
        try:
            names = sorted(name for name in self._tree.names() if name.endswith(TABLE_SUFFIX) and name[0] != ".")
        except OSError:
            return  # told by the listing
        for name in names:
            table = PlannedFile(name, *self._tree.state(name))
            if self._lists_downloads(table):
                yield table

    def _lists_downloads(self, file: PlannedFile) -> bool:
        """Say whether a file is a table of downloads; what no folder of its name stands beside is not opened."""
        stem, extension = os.path.splitext(file.uri)
        is_beside_folder = extension == TABLE_SUFFIX and "/" not in stem and self._tree.fs.isdir(self._tree.path(stem))
        return is_beside_folder and self._downloads.lists_downloads(file)

    def _listed_downloads(self) -> Iterator[tuple[Any, ...]]:
        for table in self._tables():
            folder = os.path.splitext(table.uri)[0]
            for key, uri in self._downloads.rows(table):
                yield f"{folder}/{key}" if key else uri, uri, table.size, table.etag

    def _files(self, licences: dict[str, PlannedFile]) -> Iterator[pa.RecordBatch]:
        rows: list[dict[str, Any]] = []
        for file in self._walk():
            stem, extension = os.path.splitext(file.uri)
            is_image = _is_picture(file.uri)
            if file.uri == self.coco:
                continue
            if _is_licence(file.uri):
                licences[os.path.dirname(file.uri)] = file
            elif is_image or extension.lower() in SIDECARS:
                size, etag = file.size, file.etag
                rows.append({"path": file.uri, "stem": stem, "is_image": is_image, "size": size, "etag": etag})
            elif not self._lists_downloads(file):
                self._passed[_why_passed_over(file.uri)] += 1
            if len(rows) >= BATCH_ROWS:
                yield pa.RecordBatch.from_pylist(rows, schema=_FILES)
                rows = []
        yield pa.RecordBatch.from_pylist(rows, schema=_FILES)

    def _walk(self) -> Iterator[PlannedFile]:
        """Yield every file that is not hidden."""
        tree = self._tree
        if not tree.fs.isdir(tree.base):
            raise ConfigError(
                f"source folder must exist, got {tree.base}. Paths in a recipe start from where you run onegen."
            )
        try:
            for file in tree.walk(tree.base, self._passed):
                file.uri.encode()
                yield file
        except OSError as error:
            raise ConfigError(
                f"source folder must be readable, got {error.filename or tree.base}: {error.strerror or error}. "
                f"Give yourself permission, or move it out of {tree.base}."
            ) from error
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"file names must be valid UTF-8, got {error.object!r} under {tree.base}. Rename it."
            ) from error


def _why_passed_over(path: str) -> str:
    name = os.path.basename(path).lower()
    if name in _TABLES:
        return f"{name} is not read: captions stand in a file beside each image, or use the source parquet"
    extension = os.path.splitext(name)[1]
    if extension in _UNREAD:
        return f"{extension} cannot be opened: convert them to JPEG, PNG or WebP"
    return "their names do not end like those of images"


def _is_picture(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in SUFFIXES


def _is_licence(path: str) -> bool:
    return _LICENCE.fullmatch(os.path.basename(path)) is not None


def _nearest(licences: Mapping[str, PlannedFile], path: str) -> PlannedFile | None:
    folder = os.path.dirname(path)
    while folder not in licences and folder:
        folder = os.path.dirname(folder)
    return licences.get(folder)


def _facts(uri: str, data: bytes) -> dict[str, str]:
    """Return the caption, licence and attribution that a file beside an image states, as far as it does.

    Raises SampleError bad_sidecar where it is no text, or its JSON no object whose facts are text.
    """
    if _is_json(uri):
        return sidecar_facts(uri, data)
    text = sidecar_text(uri, data)
    if _is_licence(uri):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return dict(zip(("licence", "attribution"), lines, strict=False))
    return {"caption": text.strip()} if text.strip() else {}


def _is_json(path: str) -> bool:
    return path.lower().endswith(".json")
