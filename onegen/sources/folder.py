"""A folder of image files, searched recursively, with captions and licences beside them.

`photo.jpg` may have `photo.txt` or `photo.jpg.txt` (its caption) and `photo.json` or `photo.jpg.json` (an object with
any of caption, licence, attribution). A file LICENCE or LICENSE (with or without .txt or .md) holds for its folder
and those below: its first line is the licence's name, its second line, if any, the attribution. Hidden files and
folders are passed over.
"""

import os
import re
import unicodedata
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
from onegen.sources.reading.bring import BringsFiles, split_place, value_in
from onegen.sources.reading.sidecar import sidecar_facts, sidecar_text
from onegen.sources.reading.tree import FileTree, unreadable
from onegen.storage.spill import BATCH_ROWS, Spill

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
"""
"""Names are paired as they are written; failing that as they look: macOS and its archives decompose accents."""
_ALONE = """
SELECT count(*) AS files FROM files WHERE NOT is_image AND nfc_normalize(stem) NOT IN (
    SELECT nfc_normalize(stem) FROM files WHERE is_image UNION SELECT nfc_normalize(path) FROM files WHERE is_image)
"""


@register("sources", "folder")
@dataclass(frozen=True)
class Folder(BringsFiles):
    """Images under `folder`, a path or fsspec URL; `sidecars: false` ignores captions and licences beside them.

    `bring` names columns and the files beside an image that hold them: {depth: depth.png, boxes: json.objects}.
    """

    folder: str
    sidecars: bool = True
    bring: Mapping[str, Any] = field(default_factory=dict)

    name: ClassVar[str] = "folder"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "image"
    annotation_options: ClassVar[tuple[str, ...]] = (BRING,)
    provides: ClassVar[Mapping[str, Provides]] = {}

    @cached_property
    def _tree(self) -> FileTree:
        fs, path = fsspec.url_to_fs(self.folder)
        return FileTree(fs, str(path).rstrip("/"))

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "sidecars": self.sidecars, "bring": self.bring}

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        return self._tree.root

    def listing(self) -> Iterator[pa.RecordBatch]:
        """Yield what there is, unsorted, as LISTING batches; raises ConfigError for a folder that cannot be read."""
        licences: dict[str, PlannedFile] = {}
        self._passed.clear()
        with Spill() as spill:
            spill.store("files", _FILES, self._files(licences))
            for batch in spill.query(_PAIRED):
                rows = batch.to_pylist()
                for row in rows:
                    licence = _nearest(licences, row["item"])
                    files = [*row["sidecars"], *([licence.record()] if licence else [])]
                    row["sidecars"] = [
                        file for file in files if self.sidecars or self._is_brought(row["item"], file["uri"])
                    ]
                yield pa.RecordBatch.from_pylist(rows, schema=LISTING)
            if self.sidecars or self.bring:
                (alone,) = (row for batch in spill.query(_ALONE) for row in batch.to_pylist())
                if alone["files"]:
                    what = "captions, JSON or what is brought" if self.bring else "captions or JSON"
                    self._passed[f"they are {what} beside no image"] += alone["files"]

    def read(self, item: PlannedItem) -> SourceItem:
        """Return an item's bytes and what stands beside it.

        Raises SampleError source_gone, source_changed, source_unreadable or bad_sidecar.
        """
        (file,) = item.images
        data = self._tree.read(file)
        facts: dict[str, str] = {}
        # Weakest first: the folder's licence, then the caption file, then the item's own JSON.
        files = [file for file in item.sidecars if self.sidecars and _states_facts(item.item, file.uri)]
        for beside in sorted(files, key=lambda file: (not _is_licence(file.uri), _is_json(file.uri))):
            content = self._tree.read(beside)
            if not (_is_json(beside.uri) and self.is_list(content)):
                facts.update(_facts(beside.uri, content))
        image = SourceImage(data, facts.get("caption"), facts.get("licence"), facts.get("attribution"))
        return SourceItem((image,))

    def annotations(self, item: PlannedItem) -> Mapping[str, Annotation | SampleError]:
        """Return nothing: all a folder says goes into the image column."""
        return {}

    def brought(self, item: PlannedItem, entry: BringEntry, is_file: bool, is_retry: bool = False) -> tuple[Any, ...]:
        """Return what the file beside an image says, None where there is none.

        A file that the plan knows must be as planned; one that it does not know is taken as it is, and so is that of a
        row that failed before. Raises SampleError source_gone, source_changed, source_unreadable or brought_value.
        """
        (place,) = entry.places
        suffix, _ = split_place(place)
        planned = next((file for file in item.sidecars if suffix in _suffixes(item.item, file.uri)), None)
        names = [f"{os.path.splitext(item.item)[0]}.{suffix}", f"{item.item}.{suffix}"]
        file = planned
        if file is None or is_retry:
            file = self._as_it_is([planned.uri] if planned is not None else names) or planned
        return (value_in(file.uri, self._tree.read(file), place) if file is not None else None,)

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files and folders the last listing left out, by the reason why."""
        return dict(self._passed)

    @cached_property
    def _passed(self) -> Counter[str]:
        return Counter()

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
        return bool(self.suffixes & set(_suffixes(image, beside)))

    @cached_property
    def _endings(self) -> tuple[str, ...]:
        """How files beside an image may end, in lower case, the longest first: each goes on from a name by one."""
        endings = {*SIDECARS, *(f".{suffix}" for suffix in self.suffixes)}
        return tuple(sorted(endings, key=lambda ending: (-len(ending), ending)))

    def _files(self, licences: dict[str, PlannedFile]) -> Iterator[pa.RecordBatch]:
        rows: list[dict[str, Any]] = []
        for file in self._walk():
            ending = next((ending for ending in self._endings if file.uri.lower().endswith(ending)), None)
            stem = file.uri[: -len(ending)] if ending else os.path.splitext(file.uri)[0]
            is_image = ending is None and os.path.splitext(file.uri)[1].lower() in SUFFIXES
            if _is_licence(file.uri):
                licences[os.path.dirname(file.uri)] = file
            elif is_image or ending is not None:
                size, etag = file.size, file.etag
                rows.append({"path": file.uri, "stem": stem, "is_image": is_image, "size": size, "etag": etag})
            else:
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


def _suffixes(image: str, beside: str) -> tuple[str, ...]:
    """Return how a file beside an image goes on from the image's name, without and with its suffix, in lower case."""
    names = (os.path.splitext(image)[0], image)
    plain = [unicodedata.normalize("NFC", name) for name in (beside, *names)]
    return tuple(plain[0][len(name) + 1 :].lower() for name in plain[1:] if plain[0].startswith(f"{name}."))


def _states_facts(image: str, beside: str) -> bool:
    """Say whether a planned file is a caption, JSON or a licence, and not what only a column that is brought reads."""
    return _is_licence(beside) or bool(
        {ending.removeprefix(".") for ending in SIDECARS} & set(_suffixes(image, beside))
    )


def _is_json(path: str) -> bool:
    return path.lower().endswith(".json")
