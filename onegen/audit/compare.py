"""`onegen compare DATASET COLUMN OTHER`: how far two columns of a modality agree. `onegen compare A B`: what differs.

Both read committed shards alone. Two datasets are compared key by key, out of core, by what digests are taken over.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from PIL import Image

from onegen.audit.agreement import BY_PART, Measure, array_of, measure_of
from onegen.audit.export.samples import Picture, Samples
from onegen.audit.readable import readable
from onegen.audit.sheet import Tile, contact_sheet
from onegen.errors import ConfigError, nearest
from onegen.pixels.codec import decode_image
from onegen.sample import IMAGE, SELECT
from onegen.shards.dataset import Dataset
from onegen.shards.index import canonical_row
from onegen.storage.spill import Spill, batched
from onegen.tasks.conditions import frames, grey_map, skeleton

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Agreement:
    """How far two columns agree over a dataset: the measure, its scores in order of the images, and how many have none.

    `worst` says where the images of least agreement are, worst first: (score, shard, key, index of the image).
    """

    measure: Measure
    scores: np.ndarray
    unanswered: Counter[str]
    worst: tuple[tuple[float, int, str, int], ...]

    def quantiles(self) -> list[tuple[str, float]]:
        """Return mean and quantiles by name; nothing where nothing was compared."""
        if not len(self.scores):
            return []
        named = [(f"p{round(100 * q)}", float(np.quantile(self.scores, q))) for q in QUANTILES]
        return [("mean", float(self.scores.mean())), ("least", float(self.scores.min())), *named]


def compare_columns(samples: Samples, one: str, other: str, worst: int = 12) -> Agreement:
    """Return how far two columns agree on every image that both answer.

    Raises ConfigError: a column that is not there, columns of different modalities, a damaged shard.
    """
    for column in (one, other):
        if column not in samples.columns or column in (IMAGE, SELECT):
            known = nearest(column, [name for name in samples.columns if name not in (IMAGE, SELECT)])
            raise ConfigError(f"column must be one of the dataset's, got {column!r}; {known}")
    measure = measure_of(one, other, _parts(samples, one, other), [set(samples.fields(c)) for c in (one, other)])
    scores: list[float] = []
    unanswered: Counter[str] = Counter()
    least: list[tuple[float, int, tuple[int, str, int]]] = []
    for sample in samples:
        for picture in sample.pictures:
            missing = [column for column in (one, other) if column not in picture.rows]
            score = None if missing else measure.score(picture, one, other)
            if score is None:
                unanswered[" and ".join(missing) or "nothing to compare"] += 1
                continue
            scores.append(score)
            # A heap of the worst: its head is the best of them. Earlier images go first among equals.
            heapq.heappush(least, (-score, -len(scores), (sample.shard, sample.key, picture.index)))
            if len(least) > worst:
                heapq.heappop(least)
    ordered = sorted(least, key=lambda entry: (-entry[0], -entry[1]))
    return Agreement(measure, np.array(scores), unanswered, tuple((-score, *place) for score, _, place in ordered))


def _parts(samples: Samples, one: str, other: str) -> list[set[str]]:
    """Return the parts that each column stores, by the first sample that has both."""
    for sample in samples:
        picture = sample.pictures[0]
        if one in picture.rows and other in picture.rows:
            return [set(picture.parts(column)) for column in (one, other)]
    return [set(), set()]


def worst_sheet(samples: Samples, agreement: Agreement, one: str, other: str) -> Image.Image:
    """Return the images of least agreement with what both columns say, worst first, and where maps differ."""
    scores = {(shard, key, index): score for score, shard, key, index in agreement.worst}
    rows: dict[tuple[int, str, int], list[Tile]] = {}
    for shard in sorted({place[0] for place in scores}):
        # Read again: the tars are open while their shard is gone through.
        for sample in samples.shard(shard):
            for picture in sample.pictures:
                place = (shard, sample.key, picture.index)
                if place in scores:
                    rows[place] = _row(picture, agreement.measure, scores[place], one, other)
    title = f"{samples.card.name}: {one} and {other}, least agreement first"
    return contact_sheet([rows[place] for place in scores], title)


def _row(picture: Picture, measure: Measure, score: float, one: str, other: str) -> list[Tile]:
    pixels = decode_image(picture.image())
    tiles = [Tile(pixels, IMAGE, (picture.key, f"{measure.name} {score:.3f}"))]
    tiles += [_drawn(picture, column, pixels) for column in (one, other)]
    for part, of_part in BY_PART.items():
        if of_part is measure and part != "masks.png":
            tiles.append(Tile(_difference(*(array_of(picture.part(c, part)) for c in (one, other))), "difference"))
    return tiles


def _drawn(picture: Picture, column: str, pixels: np.ndarray) -> Tile:
    """Return what a column says of an image: its map, or its records drawn; words as words."""
    values = picture.values(column)
    if "caption" in values:
        return Tile(None, column, (str(values["caption"]),))
    for part in picture.parts(column):
        if part.endswith(".png"):
            array = array_of(picture.part(column, part))
            return Tile(_seen(array, part), column)
    kind = next((name for name in ("objects", "entities", "faces", "people") if values.get(name) is not None), None)
    if kind == "people":
        return Tile(skeleton(values[kind], pixels.shape[:2]), column)
    if kind is None:
        return Tile(None, column, ("a vector",))
    return Tile(
        frames(pixels, values[kind]), column, (", ".join(record.get("label", "face") for record in values[kind]),)
    )


def _seen(array: np.ndarray, part: str) -> np.ndarray:
    """Return a map as people see it, uint8: 16 bits as 8, indices spread over the greys."""
    if array.dtype == np.uint8 and part != "masks.png":
        return array
    if part == "masks.png":
        return (array.astype(np.uint32) * 67 % 256 * (array > 0)).astype(np.uint8)
    return grey_map(array)


def _difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return where two maps differ, uint8, bright = much; each is stretched to its own range first."""
    first, second = (_stretched(array) for array in (one, other))
    difference = np.abs(first - second)
    return np.rint(255 * (difference.mean(axis=2) if difference.ndim == 3 else difference)).astype(np.uint8)


def _stretched(array: np.ndarray) -> np.ndarray:
    numbers = array.astype(np.float64) - float(array.min())
    return numbers / max(float(numbers.max()), 1e-9)


_ROWS = pa.schema([("key", pa.string()), ("column", pa.string()), ("digest", pa.string()), ("status", pa.string())])


@dataclass(frozen=True)
class Difference:
    """What differs between two datasets in a column: keys only in the one or the other, and keys it answers otherwise.

    `changed` counts by `status -> status` those that changed status, and `values` those of one status.
    """

    column: str
    gone: int
    added: int
    same: int
    changed: dict[str, int] = field(default_factory=dict)
    producers: tuple[str, str] = ("", "")


def compare_datasets(one: Dataset, other: Dataset) -> list[Difference]:
    """Return what differs, a difference a column, `image` first; raises ConfigError where either is no dataset.

    Keys are those of rows that were read; a key that a dataset holds several times counts by its first row.
    """
    for dataset in (one, other):
        dataset.require_card()
    names = sorted({*one.columns(), *other.columns()}, key=lambda name: (name != IMAGE, name))
    with Spill() as spill:
        for table, dataset in (("one", one), ("other", other)):
            spill.store(table, _ROWS, batched(_rows(dataset), _ROWS))
            spill.execute(
                f'CREATE TABLE "{table}_keys" AS SELECT key, "column", min(digest) AS digest, min(status) AS status '
                f'FROM {table} GROUP BY key, "column"'
            )
        counts: dict[str, Counter[str]] = {name: Counter() for name in names}
        for batch in spill.query(_JOINED):
            for row in batch.to_pylist():
                counts[row["column"]][row["what"]] += row["number"]
    return [_difference_of(name, counts[name], (_producer(one, name), _producer(other, name))) for name in names]


_JOINED = """
    SELECT coalesce(a."column", b."column") AS "column",
           CASE WHEN b.key IS NULL THEN 'gone' WHEN a.key IS NULL THEN 'added' WHEN a.digest = b.digest THEN 'same'
                WHEN a.status = b.status THEN 'values' ELSE a.status || ' -> ' || b.status END AS what,
           count(*) AS number
    FROM one_keys AS a FULL JOIN other_keys AS b ON a.key = b.key AND a."column" = b."column" GROUP BY ALL ORDER BY ALL
"""


def _difference_of(column: str, counts: Counter[str], producers: tuple[str, str]) -> Difference:
    plain = ("gone", "added", "same")
    changed = {what: number for what, number in sorted(counts.items()) if what not in plain}
    return Difference(column, counts["gone"], counts["added"], counts["same"], changed, producers)


def _rows(dataset: Dataset) -> Iterator[tuple[str, str, str, str]]:
    """Yield (key, column, digest of what it says, status) of every row that has a key."""
    for column in dataset.columns():
        for manifest in dataset.manifests(column):
            with readable(f"shard {manifest.shard:06d} of {column}"):
                rows = dataset.rows(manifest)
            for row in rows:
                if row.key is not None:
                    yield row.key, column, hashlib.sha256(canonical_row(row)).hexdigest(), row.status


def _producer(dataset: Dataset, column: str) -> str:
    """Return what made a column, and if its settings are others in some shards."""
    first = next(dataset.manifests(column), None)
    return "none" if first is None else f"{first.producer.label()} {first.fingerprint[:8]}"
