"""A folder of image files, searched recursively, with captions and licences beside them.

`photo.jpg` may have `photo.txt` or `photo.jpg.txt` (its caption) and `photo.json` or `photo.jpg.json` (an object with
any of caption, licence, attribution). A file LICENCE or LICENSE (with or without .txt or .md) holds for its folder
and those below: its first line is the licence's name, its second line, if any, the attribution. Hidden files and
folders are passed over.

A folder 00007 with a table 00007.parquet beside it is what img2dataset leaves of a shard of files: what the table says
could not be downloaded is planned and fails as `download_failed`, and what it says of the pictures (in the JSON beside
each) becomes the column `metadata`.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import fsspec
import pyarrow as pa

from onegen.config.bring import BRING, BringEntry
from onegen.config.registry import register
from onegen.errors import ConfigError, SampleError
from onegen.pixels.upright import SUFFIXES
from onegen.sample import Annotation, Kind, Provides, SourceImage, SourceItem
from onegen.shards.plan import LISTING, PlannedFile, PlannedItem
from onegen.sources.reading.beside import (
    SIDECARS,
    is_json,
    is_licence,
    nearest_licence,
    stated_facts,
    suffixes_of,
    why_passed_over,
)
from onegen.sources.reading.bring import BringsFiles, split_place, value_in
from onegen.sources.reading.coco_files import CocoFiles, check_coco_paths
from onegen.sources.reading.columns import Pick
from onegen.sources.reading.downloads import SUFFIX as TABLE_SUFFIX
from onegen.sources.reading.downloads import Downloads
from onegen.sources.reading.json_metadata import kept_annotation, provided_of
from onegen.sources.reading.looking import Looks
from onegen.sources.reading.metadata import METADATA, KeptTypes, field_name
from onegen.sources.reading.sidecar import sidecar_object
from onegen.sources.reading.tree import FileTree, unreadable
from onegen.storage.spill import BATCH_ROWS, Spill, batched

_FILES = pa.schema(
    [
        ("path", pa.string()),
        ("stem", pa.string()),
        ("is_image", pa.bool_()),
        ("size", pa.int64()),
        ("etag", pa.string()),
    ]
)
COCO = "coco"
"""Place of a column that a recipe takes from the COCO JSON."""
_OBJECTS = ("detection", "entities", "pose", "segmentation")
"""What the objects of a COCO JSON can be."""
CAPTIONS = "captions"
"""Field of all captions that a COCO JSON has of an image, where a recipe keeps them."""
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
class Folder(Looks, BringsFiles):
    """Images under `folder`, a path or fsspec URL; `sidecars: false` ignores captions and licences beside them.

    `keep` lists what img2dataset says of its downloads that becomes the column `metadata`; null keeps all. `coco` names
    a COCO JSON, or several, by the path in the folder: captions, of which `pick` chooses one, licences and Flickr pages
    are its; `keep: [captions]` keeps all captions, `bring: {boxes: coco, masks: coco}` its objects.
    `bring` names columns and the files beside an image that hold them: {depth: depth.png, boxes: json.objects}.
    """

    folder: str
    sidecars: bool = True
    keep: tuple[str, ...] | None = None
    coco: str | tuple[str, ...] | None = None
    pick: Pick = "first"
    bring: Mapping[str, Any] = field(default_factory=dict)

    name: ClassVar[str] = "folder"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "image"
    annotation_options: ClassVar[tuple[str, ...]] = ("keep", BRING)

    def __post_init__(self) -> None:
        check_coco_paths(self._coco_paths)
        if self._coco_paths and not self.sidecars:
            raise ConfigError("coco must stand with sidecars: true, got sidecars: false, which ignores it.")

    @cached_property
    def _tree(self) -> FileTree:
        fs, path = fsspec.url_to_fs(self.folder)
        return FileTree(fs, str(path).rstrip("/"))

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        return self._tree.root

    def look(self) -> Mapping[str, Provides]:
        """Return what img2dataset says of its downloads: the column `metadata`, none of other folders.

        Raises ConfigError for a kept name that no table has.
        """
        types = KeptTypes()
        for table in self._tables() if self.sidecars else ():
            for name, kind in (self._downloads.types(table) or {}).items():
                types.add(name, kind, self._tree.path(table.uri))
        settled = types.settled()
        if self.keep is not None and self.coco is not None:
            settled[CAPTIONS] = pa.list_(pa.string())
        return provided_of(settled, self.keep, self.folder) if settled or self.keep else {}

    def listing(self) -> Iterator[pa.RecordBatch]:
        """Yield what there is, unsorted, as LISTING batches; raises ConfigError for a folder that cannot be read."""
        licences: dict[str, PlannedFile] = {}
        self._passed.clear()
        cocos = self._coco.planned()
        named: set[str | None] = {name for file in cocos for name in self._coco.opened(file).file_names}
        with Spill() as spill:
            spill.store("files", _FILES, self._files(licences))
            spill.store("downloads", _DOWNLOADS, batched(self._listed_downloads(), _DOWNLOADS))
            for batch in spill.query(_PAIRED):
                rows = batch.to_pylist()
                for row in rows:
                    licence = nearest_licence(licences, row["item"])
                    beside = [file.record() for file in (licence, *cocos) if file is not None]
                    files = [*row["sidecars"], *beside]
                    row["sidecars"] = [
                        file for file in files if self.sidecars or self._is_brought(row["item"], file["uri"])
                    ]
                    named -= {self._coco.opened(file).file_name(row["item"]) for file in cocos}
                yield pa.RecordBatch.from_pylist(rows, schema=LISTING)
            if named:
                self._passed["the COCO JSON names them and they are not there"] += len(named)
            if self.sidecars or self.bring:
                (alone,) = (row for batch in spill.query(_ALONE) for row in batch.to_pylist())
                if alone["files"]:
                    what = "captions, JSON or what is brought" if self.bring else "captions or JSON"
                    self._passed[f"they are {what} beside no image"] += alone["files"]

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
        files = [file for file in item.sidecars if self.sidecars and self._states_facts(item.item, file.uri)]
        # Weakest first: the folder's licence, then COCO's, then the caption file, then the item's own JSON.
        for beside in sorted(files, key=self._strength):
            if beside.uri in self._coco_paths:
                facts.update(self._coco.said_of(item).facts(self.pick, item.item))
                continue
            content = self._tree.read(beside)
            if not (is_json(beside.uri) and self.is_list(content)):
                facts.update(stated_facts(beside.uri, content))
        image = SourceImage(data, facts.get("caption"), facts.get("licence"), facts.get("attribution"))
        return SourceItem((image,))

    def annotations(self, item: PlannedItem) -> Mapping[str, Annotation | SampleError]:
        """Return what is kept of the JSON beside a download; nothing where there is none.

        Raises SampleError as `read` does of that JSON, and bad_metadata for a value that does not fit its field.
        """
        if not self.provides:
            return {}
        texts = [file for file in item.sidecars if "json" in suffixes_of(item.item, file.uri)]
        about = dict(sidecar_object(texts[0].uri, self._tree.read(texts[0]))) if texts else {}
        if CAPTIONS in self.provides[METADATA].fields and self._coco_paths:
            about[CAPTIONS] = self._coco.said_of(item).captions
        known = {field_name(name): value for name, value in about.items()}
        return {METADATA: kept_annotation(known, self.provides, item.item)} if known else {}

    def brought(self, item: PlannedItem, entry: BringEntry, is_file: bool) -> tuple[Any, ...]:
        """Return what the file beside an image says, None where there is none.

        A file that the plan knows must be as planned; one that it does not know is taken as it is. Raises SampleError
        source_gone, source_changed, source_unreadable or brought_value.
        """
        (place,) = entry.places
        if place == COCO and self._coco_paths:
            said = self._coco.said_of(item)
            return (said.records(has_points=entry.use == "pose") if said.is_known else None,)
        suffix, _ = split_place(place)
        planned = next((file for file in item.sidecars if suffix in suffixes_of(item.item, file.uri)), None)
        file = planned or self._as_it_is([f"{os.path.splitext(item.item)[0]}.{suffix}", f"{item.item}.{suffix}"])
        return (value_in(file.uri, self._tree.read(file), place) if file is not None else None,)

    def check_brought(self) -> None:
        """Raise ConfigError for a file that stands in another folder, and for what no COCO JSON here says."""
        super().check_brought()
        for entry in self.entries.values():
            if entry.places == (COCO,) and (not self._coco_paths or entry.use not in _OBJECTS):
                raise ConfigError(
                    f"bring.{entry.column} must be one of {', '.join(_OBJECTS)} of a COCO JSON that `coco` names, got "
                    f"{entry.use} and coco: {self.coco}. Write coco: annotations/instances_val2017.json beside folder."
                )

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files and folders the last listing left out, by the reason why."""
        return dict(self._passed)

    @cached_property
    def _passed(self) -> Counter[str]:
        return Counter()

    def _states_facts(self, image: str, beside: str) -> bool:
        """Say whether a planned file states facts, and is not what only a column that is brought reads."""
        endings = {ending.removeprefix(".") for ending in SIDECARS}
        return beside in self._coco_paths or is_licence(beside) or bool(endings & set(suffixes_of(image, beside)))

    def _strength(self, beside: PlannedFile) -> tuple[bool, bool, bool]:
        return not is_licence(beside.uri), beside.uri not in self._coco_paths, is_json(beside.uri)

    @property
    def _coco_paths(self) -> tuple[str, ...]:
        return (self.coco,) if isinstance(self.coco, str) else self.coco or ()

    @cached_property
    def _coco(self) -> CocoFiles:
        return CocoFiles(self._tree, self._coco_paths)

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

    def _as_it_is(self, uris: Iterable[str]) -> PlannedFile | None:
        """Return the first of these files that is there, as it is now; raises SampleError source_unreadable."""
        for uri in uris:
            try:
                return PlannedFile(uri, *self._tree.state(uri))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise unreadable(self._tree.path(uri), error) from error
        return None

    def _is_brought(self, image: str, beside: str) -> bool:
        return bool(self.suffixes & set(suffixes_of(image, beside)))

    @cached_property
    def _endings(self) -> tuple[str, ...]:
        """How files beside an image may end, in lower case, the longest first: each goes on from a name by one."""
        endings = {*SIDECARS, *(f".{suffix}" for suffix in self.suffixes)}
        return tuple(sorted(endings, key=lambda ending: (-len(ending), ending)))

    def _files(self, licences: dict[str, PlannedFile]) -> Iterator[pa.RecordBatch]:
        rows: list[dict[str, Any]] = []
        for file in self._walk():
            if file.uri in self._coco_paths:
                continue
            ending = next((ending for ending in self._endings if file.uri.lower().endswith(ending)), None)
            stem = file.uri[: -len(ending)] if ending else os.path.splitext(file.uri)[0]
            is_image = ending is None and _is_picture(file.uri)
            if is_licence(file.uri):
                licences[os.path.dirname(file.uri)] = file
            elif is_image or ending is not None:
                size, etag = file.size, file.etag
                rows.append({"path": file.uri, "stem": stem, "is_image": is_image, "size": size, "etag": etag})
            elif not self._lists_downloads(file):
                self._passed[why_passed_over(file.uri)] += 1
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


def _is_picture(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in SUFFIXES
