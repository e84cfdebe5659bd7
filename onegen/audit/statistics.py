"""What a dataset holds, in numbers: coverage, distributions, categories, rights. All of it is exact.

A measure is an SQL expression over one table; which there are follows from the fields that the columns have. What a
column says of each image of a sample is counted over all images, what it says of the whole sample once. Each measure
is asked by duckdb one after the other, so that ten million rows fit two cores. docs/audit.md.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from onegen.audit import maps, viewpoints
from onegen.audit.images import NUMBER, found, keys_at, listed, place
from onegen.audit.rights_counts import rights_of
from onegen.audit.tables import Tables, quoted
from onegen.pixels.sizes import bucket_table
from onegen.sample import IMAGE, STATUSES, Kind
from onegen.shards.dataset import Dataset
from onegen.shards.takedowns import version_of
from onegen.shards.views import OTHERS

BINS = 40
MEAN_DIGITS = 12
"""Digits of a mean that are the same in every run."""
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
MOST = 20
TAIL = 6
GRID = 16
CAPTION_RANGES = ((30, 75), (100, 150))
"""Words of captions in One-Gen: of subjects, and of text to image (docs/onediffusion.md)."""


End = tuple[str, float, int]


@dataclass(frozen=True)
class Measure:
    """A number of each row of a relation: its name, the relation, the expression, and whether it is a whole number.

    `relation` is SQL with the fields shard, position and number of the image; several rows of one sample are each one.
    """

    name: str
    relation: str
    expression: str
    is_whole: bool = False


@dataclass(frozen=True)
class Distribution:
    """The values of a measure: count, rows without one, extremes, mean, percentiles, histogram, images at both ends.

    `edges` has one number more than `bins`; the last bin holds its upper edge. `low` and `high` are (key, value, which
    image of the sample, from 0).
    """

    count: int
    missing: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    percentiles: dict[str, float]
    edges: list[float]
    bins: list[int]
    low: list[End]
    high: list[End]


@dataclass(frozen=True)
class Categories:
    """The values of a text: how many rows and different values, and the most frequent with their counts."""

    count: int
    distinct: int
    most: list[tuple[str, int]]


@dataclass(frozen=True)
class Coverage:
    """A column: rows by status over its committed shards, reasons, bytes, and what made it."""

    shards: int
    counts: dict[str, int]
    reasons: list[tuple[str, str, int]]
    bytes: int
    producer: str
    weights: list[dict[str, str]]


@dataclass(frozen=True)
class Statistics:
    """All of it, as `report/statistics.json` has it."""

    name: str
    digest: str | None
    kind: str
    state: str
    shards: int
    planned_shards: int
    items: int
    columns: dict[str, Coverage]
    distributions: dict[str, Distribution]
    categories: dict[str, Categories]
    heat: dict[str, list[list[int]]]
    cameras: list[list[int]]
    rights: dict[str, list[tuple[str, int]]]
    duplicates: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"schema_version": 1, **asdict(self)}


def statistics(dataset: Dataset, tables: Tables, readings: Sequence[maps.Reading] = ()) -> Statistics:
    """Return the statistics of what is committed, and of what was read of maps."""
    card = dataset.require_card()
    has_cameras = viewpoints.store_viewpoints(tables)
    schemas = {column: tables.own_fields(column) for column in tables.manifests}
    return Statistics(
        name=card.name,
        digest=version_of(card.digest, tables.takedowns),
        kind=card.kind,
        state=card.state,
        shards=len(tables.manifests[IMAGE]),
        planned_shards=card.plan.shards,
        items=card.plan.items,
        columns={column: _coverage(tables, column) for column in tables.manifests},
        distributions={
            measure.name: values
            for measure in [
                *measures(tables, schemas),
                *_of_sets(tables, card.kind),
                *(_of_cameras() if has_cameras else ()),
                *_of_maps(tables, readings),
            ]
            if (values := _distribution(tables, measure)).count
        },
        categories={measure.name: _categories(tables, measure) for measure in texts(tables, schemas)},
        heat={name: _heat(tables, name, column, field) for name, column, field in _boxed(schemas)},
        cameras=viewpoints.coverage(tables) if has_cameras else [],
        rights=rights_of(card, tables),
        duplicates=_duplicates(tables, schemas),
    )


def _coverage(tables: Tables, column: str) -> Coverage:
    manifests = tables.manifests[column]
    counts: dict[str, int] = {}
    for manifest in manifests:
        for name, number in manifest.counts.model_dump().items():
            counts[name] = counts.get(name, 0) + number
    if tables.takedowns:
        # As a purge will leave them, and not as the files have them.
        told = tables.rows(f"SELECT status, count(*) FROM {quoted(column)} GROUP BY ALL")
        counts |= dict.fromkeys(STATUSES, 0)
        counts |= dict(told)
    reasons = tables.rows(
        f"SELECT status, coalesce(reason, 'unknown'), count(*) FROM {quoted(column)} WHERE status != 'ok' "
        f"GROUP BY ALL ORDER BY 3 DESC, 1, 2 LIMIT {MOST}"
    )
    size = sum(record.size for manifest in manifests for record in manifest.files.values())
    producer = manifests[-1].producer
    return Coverage(len(manifests), counts, [tuple(row) for row in reasons], size, producer.label(), producer.weights)


_WORD = "nullif(regexp_replace(lower(w), '^[^\\p{L}\\p{N}]+|[^\\p{L}\\p{N}]+$', '', 'g'), '')"
"""What stands between spaces, in small letters and without the punctuation around it."""
_NUMBERS = ("INTEGER", "BIGINT", "DOUBLE", "FLOAT")


def measures(tables: Tables, schemas: Mapping[str, Mapping[str, str]]) -> Iterator[Measure]:
    """Yield the numbers that these columns have: their own, of what they list, and what follows from them."""
    for column, fields in schemas.items():
        if "parts" in fields:
            yield Measure(
                f"{column}.bytes", found(tables, column), "list_sum(list_transform(parts, lambda p: p.size))", True
            )
        for field, kind in fields.items():
            if field in ("shard", "position"):
                continue
            name = f"{column}.{field}"
            if kind in _NUMBERS:
                yield Measure(name, found(tables, column, field), quoted(field), kind in ("INTEGER", "BIGINT"))
            elif kind.startswith("STRUCT(") and kind.endswith(")[]") and field != "parts":
                yield from _of_list(tables, column, field, kind)
    if {"width", "height"} <= schemas[IMAGE].keys():
        sizes = found(tables, IMAGE, "width")
        yield Measure("image.aspect", sizes, "width / height")
        yield Measure("image.megapixels", sizes, "width * height / 1e6")
    yield from _depth(tables, schemas)


def _depth(tables: Tables, schemas: Mapping[str, Mapping[str, str]]) -> Iterator[Measure]:
    for column, fields in schemas.items():
        if {"minimum", "maximum"} <= fields.keys():
            yield Measure(f"{column}.range", found(tables, column, "minimum"), "maximum - minimum")


def _of_list(tables: Tables, column: str, field: str, kind: str) -> Iterator[Measure]:
    name, relation = f"{column}.{field}", listed(tables, column, field)
    yield Measure(f"{name}.count", found(tables, column, field), f"len({quoted(field)})", True)
    if "score DOUBLE" in kind.replace('"', ""):
        yield Measure(f"{name}.score", relation, "e.score")
    if has_box(kind):
        joined = f"(SELECT l.*, i.width, i.height FROM {with_size(tables, column, field)})"
        yield Measure(f"{name}.area", joined, "(e.x1 - e.x0) * (e.y1 - e.y0) / (width * height)")
    if "keypoints DOUBLE[]" in kind.replace('"', ""):
        visible = "len(list_filter(e.keypoints, lambda v, i: i % 3 = 0 AND v > 0.3))"
        yield Measure(f"{name}.keypoints_visible", relation, visible, True)


def with_size(tables: Tables, column: str, field: str) -> str:
    """Return SQL of what a column lists, `l`, joined with the size of the image that it is of, `i`."""
    images = found(tables, IMAGE, "width")
    return f"{listed(tables, column, field)} AS l JOIN {images} AS i USING ({place(tables, column, field)})"


def has_box(kind: str) -> bool:
    """Say whether a type of duckdb, a list of records, has the corners of a box."""
    return all(f"{corner} DOUBLE" in kind.replace('"', "") for corner in ("x0", "y0", "x1", "y1"))


def texts(tables: Tables, schemas: Mapping[str, Mapping[str, str]]) -> Iterator[Measure]:
    """Yield the texts that these columns have whose values are worth counting, words of captions, aspect buckets."""
    if {"width", "height"} <= schemas[IMAGE].keys():
        yield Measure("image.bucket", found(tables, IMAGE, "width"), bucket_name())
    for column, fields in schemas.items():
        for field, kind in fields.items():
            name = f"{column}.{field}"
            if kind == "VARCHAR" and field in ("captioner", "top_class"):
                yield Measure(name, found(tables, column, field), quoted(field))
            elif kind == "VARCHAR" and field == "caption":
                words = f"(SELECT unnest(string_split({quoted(field)}, ' ')) AS w FROM {found(tables, column, field)})"
                yield Measure(f"{name}.vocabulary", words, _WORD)
            elif kind == "VARCHAR[]" and field == "names":
                yield Measure(name, f"(SELECT unnest(names) AS w FROM {found(tables, column, field)})", "w")
            elif kind.startswith("STRUCT("):
                bare = kind.replace('"', "")
                for inner in ("label", "colour"):
                    if f"{inner} VARCHAR" in bare:
                        yield Measure(f"{name}.{inner}", listed(tables, column, field), f"e.{inner}")


def bucket_name() -> str:
    """Return the SQL expression of which aspect-ratio bucket an image of `width` x `height` falls into, by name.

    It is `nearest_bucket` of onegen.pixels.sizes: the nearest printed ratio height/width, and its sides at base 1024.
    """
    table = sorted(bucket_table(1024).items())
    names = [f"{ratio:g} ({height} x {width})" for ratio, (height, width) in table]
    ends = [(lower + upper) / 2 for (lower, _), (upper, _) in itertools.pairwise(table)]
    cases = " ".join(f"WHEN height / width <= {end!r} THEN '{name}'" for end, name in zip(ends, names, strict=False))
    return f"CASE {cases} ELSE '{names[-1]}' END"


def _of_sets(tables: Tables, kind: Kind) -> Iterator[Measure]:
    """Yield how many images samples have as they are stored; of identities how many each subject has."""
    if OTHERS not in tables.fields(IMAGE):
        return
    yield Measure(f"{IMAGE}.images", found(tables, IMAGE), "len(parts)", True)
    if kind == "identity":
        # A subject of many pictures is several samples.
        ordinal = "shard::BIGINT * 4294967296 + position"
        subjects = (
            f"(SELECT min(shard) AS shard, arg_min(position, {ordinal}) AS position, 0 AS {NUMBER}, "
            f"sum(len(parts))::BIGINT AS n "
            f"FROM {found(tables, IMAGE)} GROUP BY subject)"
        )
        yield Measure("images per identity", subjects, "n", True)


def _of_cameras() -> Iterator[Measure]:
    for name in viewpoints.MEASURES:
        yield Measure(f"camera.{name}", viewpoints.TABLE, name)


def _of_maps(tables: Tables, readings: Sequence[maps.Reading]) -> Iterator[Measure]:
    for name in maps.store_readings(tables, readings):
        yield Measure(name, maps.relation(name), "value")


_MEASURED = "_measured"
"""Table of the values of the measure that is being counted: `v`, and where each stands."""


def _distribution(tables: Tables, measure: Measure) -> Distribution:
    """Return how the values of a measure lie: it is asked once, and its values are counted where they then stand."""
    tables.rows(
        f"CREATE OR REPLACE TEMP TABLE {_MEASURED} AS SELECT ({measure.expression})::DOUBLE AS v, shard, position, "
        f"{NUMBER} FROM {measure.relation} WHERE v IS NULL OR isfinite(v)"
    )
    points = ", ".join(str(percentile / 100) for percentile in PERCENTILES)
    ((rows, count, low, high, mean, quantiles),) = tables.rows(
        f"SELECT count(*), count(v), min(v), max(v), favg(v), quantile_disc(v, [{points}]) FROM {_MEASURED}"
    )
    if not count:
        return Distribution(0, rows, None, None, None, {}, [], [], [], [])
    edges, bins = histogram(tables, _MEASURED, measure.is_whole, low, high)
    percentiles = {str(point): value for point, value in zip(PERCENTILES, quantiles, strict=True)}
    tails = [_tail(tables, order) for order in ("ASC", "DESC")]
    # In which order threads add is chance, and so are the last digits.
    mean = float(f"{mean:.{MEAN_DIGITS}g}")
    return Distribution(count, rows - count, low, high, mean, percentiles, edges, bins, *tails)


def histogram(tables: Tables, relation: str, is_whole: bool, low: float, high: float) -> tuple[list[float], list[int]]:
    """Return the edges of the bins between two extremes, and how many values each bin has.

    `relation` is SQL of a relation whose `v` are the values, DOUBLE; those that are not finite are left out.
    """
    left, width, num_bins = _bins(low, high, is_whole)
    bins = [0] * num_bins
    place = f"least({num_bins - 1}, floor((v - {left!r}::DOUBLE) / {width!r}::DOUBLE))::INTEGER" if width else "0"
    for number, size in tables.rows(f"SELECT {place} AS b, count(*) FROM {relation} WHERE isfinite(v) GROUP BY b"):
        bins[number] = size
    edges = [left + number * width for number in range(num_bins)]
    return [*edges, left + num_bins * width if is_whole else high], bins


def _bins(low: float, high: float, is_whole: bool) -> tuple[float, float, int]:
    """Return the left edge, the width and the number of bins; of whole numbers each bin holds equally many."""
    if not is_whole:
        return low, (high - low) / BINS, BINS if high > low else 1
    width = math.ceil((high - low + 1) / BINS)
    return low - 0.5, width, math.ceil((high - low + 1) / width)


def _tail(tables: Tables, order: str) -> list[End]:
    """Return the images and values at one end; of equal values those that come first in the dataset."""
    rows = tables.rows(
        f"SELECT shard, position, v, {NUMBER} FROM {_MEASURED} WHERE v IS NOT NULL "
        f"ORDER BY v {order}, shard, position, {NUMBER} LIMIT {TAIL}"
    )
    keys = keys_at(tables, [(shard, position) for shard, position, _, _ in rows])
    return [(keys[shard, position], value, number) for shard, position, value, number in rows]


def _categories(tables: Tables, measure: Measure) -> Categories:
    """Return the values of a text; an expression over `w` is asked of each different one once, not of each row."""
    raw = "w" if measure.expression == _WORD else measure.expression
    counted = f"(SELECT {raw} AS w, count(*) AS n FROM {measure.relation} GROUP BY ALL)"
    chosen = measure.expression if raw == "w" else "w"
    tables.rows(
        f"CREATE OR REPLACE TEMP TABLE _counted AS SELECT {chosen} AS v, sum(n) AS n FROM {counted} GROUP BY ALL"
    )
    ((count, distinct),) = tables.rows("SELECT coalesce(sum(n), 0)::BIGINT, count(*) FROM _counted WHERE v IS NOT NULL")
    most = tables.rows(f"SELECT v, n::BIGINT FROM _counted WHERE v IS NOT NULL ORDER BY n DESC, v LIMIT {MOST}")
    return Categories(count, distinct, [(value, number) for value, number in most])


def _boxed(schemas: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str, str]]:
    for column, fields in schemas.items():
        for field, kind in fields.items():
            if kind.startswith("STRUCT(") and has_box(kind):
                yield f"{column}.{field}", column, field


def _heat(tables: Tables, name: str, column: str, field: str) -> list[list[int]]:
    """Return how many centres of boxes lie in each cell of a square grid over the image, the top row first."""
    grid = [[0] * GRID for _ in range(GRID)]
    cell = f"least({GRID - 1}, greatest(0, floor((e.{{0}}0 + e.{{0}}1) / 2 / {{1}} * {GRID})))::INTEGER"
    joined = with_size(tables, column, field)
    across, down = cell.format("x", "width"), cell.format("y", "height")
    for x, y, count in tables.rows(f"SELECT {across} AS x, {down} AS y, count(*) FROM {joined} GROUP BY x, y"):
        grid[y][x] = count
    return grid


def _duplicates(tables: Tables, schemas: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    """Return how many rows repeat what an earlier row has, by field: perceptual hashes and captions."""
    repeated: Sequence[tuple[str, str]] = [(IMAGE, "phash")] + [
        (column, "caption") for column, fields in schemas.items() if fields.get("caption") == "VARCHAR"
    ]
    return {
        f"{column}.{field}": tables.rows(
            f"SELECT count(v) - count(DISTINCT v) FROM (SELECT hash({quoted(field)}) AS v FROM {found(tables, column)} "
            f"WHERE {quoted(field)} IS NOT NULL)"
        )[0][0]
        for column, field in repeated
        if field in schemas[column]
    }
