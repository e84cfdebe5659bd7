"""What is unsound in what a dataset says of its samples, each defect with the key that it is found at.

`verify` proves that files are as they were committed; this asks whether what was committed makes sense. Index checks
see every row. What only pixels and bytes can tell is read for samples spread over the dataset, or with `full` for all.
"""

import contextlib
import hashlib
import io
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from onegen.annotators.shared.caption_faults import fault_of
from onegen.audit.defects import Defect
from onegen.audit.images import found
from onegen.audit.maps import MEASURES, Reading
from onegen.audit.readable import DAMAGE, brief
from onegen.audit.set_checks import check_sets
from onegen.audit.statistics import has_box, with_size
from onegen.audit.tables import TAKEN, Tables, quoted
from onegen.audit.verify import verify
from onegen.sample import IMAGE, SELECT
from onegen.shards.column import ColumnReader
from onegen.shards.dataset import Dataset, folder
from onegen.shards.index import Row
from onegen.shards.takedowns import TAKEDOWN
from onegen.shards.views import split_name, values_of

SLACK = 1.0
"""Pixels by which a box or a point may lie outside: models round."""
SEEN = 0.3
"""Visibility from which a keypoint is one: what pose draws."""
READ = 1000
"""Samples whose bytes are read where not all are."""
MEASURED = 100_000
"""Samples whose maps are measured where all are read."""
NAMED = 200
"""Defects of one kind that are named; the rest are counted."""


@dataclass(frozen=True)
class Findings:
    """The defects that are named, how many there are of each kind, and how many samples had their bytes read.

    `readings` are the numbers that were measured of their maps on the way.
    """

    defects: tuple[Defect, ...]
    counts: dict[str, int]
    read: int
    readings: tuple[Reading, ...] = ()


def check(dataset: Dataset, tables: Tables, full: bool = False, reads: bool = True) -> Findings:
    """Return what is unsound; nothing of a clean dataset. Without `reads` only the indexes are looked at."""
    schemas = {column: tables.own_fields(column) for column in tables.manifests}
    ((images,),) = tables.rows(f"SELECT count(*) FROM {quoted(IMAGE)} WHERE status = 'ok'")
    step = 1 if full else max(1, -(-images // READ))
    counts: Counter[str] = Counter()
    named: list[Defect] = []
    readings: list[Reading] = []
    for defect in itertools.chain(
        _stored(dataset, tables, full),
        _conservation(tables),
        _tombstones(dataset, tables),
        _rights(tables),
        _shapes(tables, schemas),
        _captions(tables, schemas),
        check_sets(dataset.require_card(), tables),
        _bytes(dataset, tables, step, readings) if reads else (),
    ):
        counts[defect.kind] += 1
        if counts[defect.kind] <= NAMED:
            named.append(defect)
    return Findings(tuple(named), dict(counts), -(-images // step) if reads else 0, tuple(readings))


def _stored(dataset: Dataset, tables: Tables, full: bool) -> Iterator[Defect]:
    """Yield files that are not as committed: all that `verify` finds where `full`, else those of another size."""
    if full:
        for finding in verify(dataset, full=True):
            yield Defect("stored", "", -1, None, f"{finding.file}: {finding.what}")
        return
    for column, manifests in tables.manifests.items():
        for manifest in manifests:
            for name, record in manifest.files.items():
                path = f"{folder(column)}/{name}"
                try:
                    size = dataset.store.size(path)
                except OSError as error:
                    yield Defect("stored", column, manifest.shard, None, f"{path} must be there: {brief(error)}")
                    continue
                if size != record.size:
                    what = f"{path} must have {record.size} bytes, got {size}"
                    yield Defect("stored", column, manifest.shard, None, what)


def _conservation(tables: Tables) -> Iterator[Defect]:
    """Yield shards whose rows are not those that their manifest counts, and keys that differ from the images'."""
    for column, manifests in tables.manifests.items():
        rows = tables.rows(f"SELECT shard, status, count(*) FROM {tables.stored(column)} GROUP BY ALL")
        found: dict[int, dict[str, int]] = {}
        for shard, status, count in rows:
            found.setdefault(shard, {})[status] = count
        for manifest in manifests:
            told = {name: n for name, n in manifest.counts.model_dump().items() if name != "rows" and n}
            got = found.get(manifest.shard, {})
            if told != got:
                yield Defect(
                    "conservation", column, manifest.shard, None, f"rows must be {told} by the manifest, got {got}"
                )
        if column != IMAGE:
            sql = (
                f"SELECT c.shard, c.key, i.key FROM {quoted(column)} AS c JOIN {quoted(IMAGE)} AS i "
                f"USING (shard, position) WHERE c.key IS DISTINCT FROM i.key LIMIT {NAMED}"
            )
            for shard, key, other in tables.rows(sql):
                yield Defect("conservation", column, shard, key, f"key must be that of the image, {other}")


def _tombstones(dataset: Dataset, tables: Tables) -> Iterator[Defect]:
    """Yield what is still stored of samples that were taken down, once the dataset says that nothing is."""
    image = tables.stored(IMAGE)
    for column in tables.manifests:
        held = "c.key IS NOT NULL OR c.status = 'ok'" + (" OR len(c.parts) > 0" * ("parts" in tables.fields(column)))
        sql = (
            f"SELECT shard, position, c.key FROM {tables.stored(column)} AS c JOIN {image} AS i "
            f"USING (shard, position) WHERE i.status = 'filtered' AND i.reason = '{TAKEDOWN}' AND ({held}) "
            f"ORDER BY shard, position"
        )
        for shard, position, key in tables.rows(sql):
            what = f"row {position} must hold nothing: it was taken down and purged"
            yield Defect("tombstone", column, shard, key, what)
    if tables.takedowns and dataset.require_card().purged == tables.takedowns.digest:
        sql = f"SELECT shard, key FROM {image} JOIN {TAKEN} USING (shard, position) WHERE status = 'ok'"
        for shard, key in tables.rows(f"{sql} ORDER BY shard, position"):
            yield Defect("tombstone", IMAGE, shard, key, "sample must be gone: it was taken down, and all is purged")


def _rights(tables: Tables) -> Iterator[Defect]:
    for field, kind in (("licence", "licence_missing"), ("uri", "source_missing")):
        sql = f"SELECT shard, key FROM {found(tables, IMAGE, field)} WHERE coalesce(trim({field}), '') = ''"
        for shard, key in tables.rows(f"{sql} ORDER BY shard, position"):
            yield Defect(kind, IMAGE, shard, key, f"{field} must be told, and is not")


def _shapes(tables: Tables, schemas: Mapping[str, Mapping[str, str]]) -> Iterator[Defect]:
    """Yield boxes and keypoints outside their image, and depth without a range."""
    for column, fields in schemas.items():
        for field, kind in fields.items():
            if kind.startswith("STRUCT(") and kind.endswith(")[]") and field != "parts":
                if has_box(kind):
                    yield from _boxes(tables, column, field)
                if "keypoints DOUBLE[]" in kind.replace('"', ""):
                    yield from _keypoints(tables, column, field)
        if {"minimum", "maximum"} <= fields.keys():
            sql = (
                f"SELECT shard, key, minimum, maximum FROM {found(tables, column, 'minimum')} WHERE maximum <= minimum"
            )
            for shard, key, low, high in tables.rows(sql):
                yield Defect("constant_depth", column, shard, key, f"depth must have a range, got {low} to {high}")


def _boxes(tables: Tables, column: str, field: str) -> Iterator[Defect]:
    sql = (
        f"SELECT shard, l.key, e.x0, e.y0, e.x1, e.y1, width, height FROM {with_size(tables, column, field)} WHERE NOT "
        f"coalesce(e.x0 >= -{SLACK} AND e.y0 >= -{SLACK} AND e.x1 <= width + {SLACK} AND e.y1 <= height + {SLACK} "
        f"AND e.x0 <= e.x1 AND e.y0 <= e.y1, false)"
    )
    for shard, key, *box, width, height in tables.rows(sql):
        yield Defect("box_outside", column, shard, key, f"box must lie in {width} x {height}, got {box}")


def _keypoints(tables: Tables, column: str, field: str) -> Iterator[Defect]:
    outside = (
        f"list_filter(range(1, len(e.keypoints) // 3 + 1), lambda n: e.keypoints[3 * n] > {SEEN} AND NOT ("
        f"e.keypoints[3 * n - 2] BETWEEN -{SLACK} AND width + {SLACK} "
        f"AND e.keypoints[3 * n - 1] BETWEEN -{SLACK} AND height + {SLACK}))"
    )
    images = with_size(tables, column, field)
    sql = f"SELECT shard, l.key, {outside} AS bad, width, height FROM {images} WHERE len(bad) > 0"
    for shard, key, bad, width, height in tables.rows(sql):
        numbers = [number - 1 for number in bad]
        yield Defect("keypoint_outside", column, shard, key, f"keypoints {numbers} must lie in {width} x {height}")


def _captions(tables: Tables, schemas: Mapping[str, Mapping[str, str]]) -> Iterator[Defect]:
    """Yield captions that models made and that say nothing, stop in the middle, loop or refuse.

    duckdb picks those that may: without an end, or with as many repeated words as a loop has. What a source brought
    may end as it likes.
    """
    for column, fields in schemas.items():
        if not {"caption", "captioner"} <= fields.keys():
            continue
        brought = "caption IS NOT DISTINCT FROM original" if "original" in fields else "false"
        words = "string_split(lower(caption), ' ')"
        sql = (
            f"SELECT shard, key, coalesce(caption, ''), {brought} FROM {found(tables, column, 'caption')} WHERE ("
            f"coalesce(trim(caption), '') = '' OR NOT regexp_matches(caption, '[.!?][\"'')]*$') "
            f"OR (length(caption) > 60 AND len({words}) - list_unique({words}) >= 12) "
            f"OR regexp_matches(lower(caption), '^\\W*(i |i.m|sorry|as an ai|unfortunately)')) ORDER BY shard, position"
        )
        for shard, key, caption, is_brought in tables.rows(sql):
            is_cut = not is_brought and not caption.rstrip("\"')").endswith((".", "!", "?"))
            fault = fault_of(caption, is_cut)
            if fault and fault != "foreign_caption":
                yield Defect(fault, column, shard, key, f"caption must say what is shown, got {caption[:120]!r}")


def _bytes(dataset: Dataset, tables: Tables, step: int, readings: list[Reading]) -> Iterator[Defect]:
    """Yield parts that are not what the index says, and maps that do not fit their image, of every `step`-th image.

    What is measured of the maps is put into `readings`.
    """
    taken = set(tables.rows(f"SELECT shard, position FROM {TAKEN}"))
    columns = [column for column in dataset.columns() if column not in (IMAGE, SELECT)]
    ((images,),) = tables.rows(f"SELECT count(*) FROM {quoted(IMAGE)} WHERE status = 'ok'")
    measured = max(step, -(-images // MEASURED))
    number = -1
    for manifest in dataset.manifests(IMAGE):
        with contextlib.ExitStack() as stack:
            readers = {
                column: stack.enter_context(contextlib.closing(ColumnReader(dataset, found)))
                for column, found in ((c, dataset.manifest(c, manifest.shard)) for c in (IMAGE, *columns))
                if found is not None
            }
            for row in readers[IMAGE].rows:
                is_read = row.status == "ok" and (manifest.shard, row.position) not in taken
                number += is_read
                if is_read and number % step == 0:
                    measures = readings if number % measured == 0 else []
                    for column, reader in readers.items():
                        own = reader.rows[row.position]
                        yield from _row_bytes(reader, column, manifest.shard, own, row, measures)


def _row_bytes(
    reader: ColumnReader, column: str, shard: int, row: Row, image: Row, readings: list[Reading]
) -> Iterator[Defect]:
    for member in row.parts:
        try:
            data = reader.part(member)
        except OSError as error:
            yield Defect("altered", column, shard, row.key, f"{member.name} must be readable: {brief(error)}")
            continue
        digest = hashlib.sha256(data).hexdigest()
        if digest != member.sha256:
            yield Defect(
                "altered", column, shard, row.key, f"{member.name} must have SHA-256 {member.sha256}, got {digest}"
            )
            continue
        owner, name = split_name(member.name)
        if column != IMAGE and not name.endswith(".png"):
            continue
        try:
            size, pixels = _decoded(data, name)
        except (*DAMAGE, SyntaxError) as error:
            yield Defect("unreadable", column, shard, row.key, f"{name} must decode: {brief(error)}")
            continue
        if pixels is not None and name in MEASURES:
            measure, of = MEASURES[name]
            readings.append(Reading(f"{column}.{measure}", shard, row.position, row.key, owner, of(pixels)))
        own, values = values_of(image, owner), values_of(row, owner)
        if size != (own["width"], own["height"]):
            what = f"{name} must be {own['width']} x {own['height']}, got {size[0]} x {size[1]}"
            yield Defect("size_mismatch", column, shard, row.key, what)
        if pixels is not None:
            yield from _map_faults(pixels, name, column, shard, row, values)


def _decoded(data: bytes, name: str) -> tuple[tuple[int, int], np.ndarray | None]:
    """Return width and height of a picture, and the pixels of the maps whose pixels tell something."""
    with Image.open(io.BytesIO(data)) as opened:
        return opened.size, np.asarray(opened) if name in ("masks.png", *MEASURES) else None


def _map_faults(
    pixels: np.ndarray, name: str, column: str, shard: int, row: Row, values: Mapping[str, Any]
) -> Iterator[Defect]:
    """Yield what is wrong with the pixels of a map: of masks their indices, of depth its range."""
    areas = values.get("areas")
    if name == "masks.png" and areas is not None and int(pixels.max()) > len(areas):
        what = f"indices must be at most {len(areas)}, the number of entities, got {int(pixels.max())}"
        yield Defect("unknown_mask_index", column, shard, row.key, what)
    if name == "depth.png" and pixels.min() == pixels.max() and values.get("maximum", 1) > values.get("minimum", 0):
        yield Defect("constant_depth", column, shard, row.key, f"depth must vary, got {int(pixels.min())} everywhere")
