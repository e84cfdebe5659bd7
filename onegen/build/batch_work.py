"""One batch of a shard on its way through a stage: read, prepared, inferred, finished, written.

All but inferring may happen on threads; see `Lanes`.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

from onegen.build.answering import Ready, finish, infer, prepare
from onegen.build.appetite import Appetite
from onegen.build.column_shard import ColumnShard
from onegen.build.feed import Batch, Feed, FeedRow
from onegen.build.jobs import ColumnJob
from onegen.build.lanes import Lanes, Later
from onegen.build.outcome import Lost, Outcome
from onegen.shards.views import DROPPED, joined_parts, joined_values, part_name


@dataclasses.dataclass(frozen=True)
class _ReadyRow:
    """A row that was read, and its items as the annotator wants them; or why it could not be read."""

    row: FeedRow | Outcome
    items: tuple[Ready | Outcome, ...] = ()


class BatchWork:
    """The rows at `positions`: `wanted` are those to compute, by column; `early` has outcomes that are known already.

    It begins to read when it is made.
    """

    def __init__(
        self,
        feed: Feed,
        shards: Sequence[ColumnShard],
        positions: Sequence[int],
        early: Mapping[tuple[str, int], Outcome],
        lanes: Lanes,
    ) -> None:
        self.positions, self._lanes, self._early = positions, lanes, early
        self.wanted = {
            shard.column: [p for p in positions if p in shard.to_compute and (shard.column, p) not in early]
            for shard in shards
        }
        batch = Batch(feed, sorted({p for wanted in self.wanted.values() for p in wanted}), lanes)
        self._ready = {
            (shard.column, position): lanes.aside(_prepared, batch, shard.job, position)
            for shard in shards
            for position in self.wanted[shard.column]
        }
        self._outcomes: dict[tuple[str, int], Later[Outcome]] = {}

    def infer(self, shard: ColumnShard, appetite: Appetite | None) -> None:
        """Ask a column's annotator for all its rows at once."""
        column, wanted = shard.column, self.wanted[shard.column]
        ready = [self._ready.pop((column, position)).result() for position in wanted]
        began = time.perf_counter()
        answers = iter(infer(shard.job, [item for row in ready for item in row.items], appetite))
        shard.busy_seconds += time.perf_counter() - began
        for position, row in zip(wanted, ready, strict=True):
            given = [next(answers) for _ in row.items]
            self._outcomes[column, position] = self._lanes.aside(_outcome, shard.job, row.row, given)

    def outcome(self, shard: ColumnShard, position: int) -> Outcome:
        """Return the outcome of a row of a column that was inferred, or that was known before."""
        known = self._early.get((shard.column, position))
        return known if known is not None else self._outcomes[shard.column, position].result()

    def write(self, shard: ColumnShard) -> None:
        """Write a column's rows, as they are done."""
        computed = [position for position in self.positions if position in shard.to_compute]
        shard.write(self.positions, {position: self.outcome(shard, position) for position in computed})
        for position in self.wanted[shard.column]:
            del self._outcomes[shard.column, position]


def _prepared(batch: Batch, job: ColumnJob, position: int) -> _ReadyRow:
    row = batch.row(job, position)
    return _ReadyRow(row, () if isinstance(row, Outcome) else tuple(prepare(job, item) for item in row.items))


def _outcome(job: ColumnJob, row: FeedRow | Outcome, answers: Sequence[Any]) -> Outcome:
    """Return the outcome of a row, given what was answered of its images."""
    if isinstance(row, Outcome):
        return row
    outcomes = [finish(job, item, answer) for item, answer in zip(row.items, answers, strict=True)]
    return _joined(row, outcomes) if row.images is None else _joined_set(job, row, outcomes)


def _joined_set(job: ColumnJob, row: FeedRow, outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome of a set, given that of each of its images: those that are not ok are left out and named."""
    images = row.images or ()
    lost = [*row.lost, *(_lost(n, len(images), o) for n, o in zip(images, outcomes, strict=True) if o.status != "ok")]
    lost.sort(key=lambda one: one.image)
    kept = [index for index, outcome in enumerate(outcomes) if outcome.status == "ok"]
    own = [one for one in lost if one.status != "skipped"]
    if not kept or (job.is_whole and own):
        one = own[0] if own else Lost(0, "filtered", "no_image")
        return Outcome(one.status, one.reason, one.message, row.values, key=row.key)
    key, values = row.named(kept) if row.named is not None else (row.key, row.values)
    # Ingest stores what is left, one after another; later columns answer by the number of the stored image.
    places = range(len(kept)) if row.named is not None else [images[index] for index in kept]
    count = len(kept) if row.named is not None else row.num_images
    said: list[Mapping[str, Any] | None] = [None] * count
    parts: list[Mapping[str, bytes]] = [{}] * count
    for place, index in zip(places, kept, strict=True):
        said[place], parts[place] = _own(row, index, outcomes[index]), outcomes[index].parts
    stated = {**joined_values(said), **values, DROPPED: [one.record() for one in lost] or None}
    kind = job.provenance.kind
    digests = {
        part_name(place, name, kind): digest
        for place, index in zip(places, kept, strict=True)
        for name, digest in _known_digests(row, index, outcomes[index]).items()
    }
    return Outcome("ok", values=stated, parts=joined_parts(parts, kind), key=key, digests=digests, lost=own)


def _lost(number: int, count: int, outcome: Outcome) -> Lost:
    at = f"image {number + 1} of {count}: " if count > 1 else ""
    return Lost(number, outcome.status, outcome.reason or "unknown", f"{at}{outcome.message}")


def _own(row: FeedRow, index: int, outcome: Outcome) -> Mapping[str, Any]:
    """Return what is stored of one image of a set: of one that ingest stores also where it came from."""
    source = row.items[index].source
    if source is None:
        return outcome.values
    camera = {"camera": source.camera} if source.camera is not None else {}
    return {**outcome.values, "uri": source.uri, **camera}


def _joined(row: FeedRow, outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome of a row, given that of each of its images: the first that is not ok stands for all."""
    for index, outcome in enumerate(outcomes):
        if outcome.status != "ok":
            at = f"image {index + 1} of {len(outcomes)}: " if len(outcomes) > 1 else ""
            return dataclasses.replace(outcome, key=row.key, message=f"{at}{outcome.message}", values=row.values)
    values = {**joined_values([outcome.values for outcome in outcomes]), **row.values}
    parts = joined_parts([outcome.parts for outcome in outcomes])
    digests = {
        part_name(index, name): digest
        for index, outcome in enumerate(outcomes)
        for name, digest in _known_digests(row, index, outcome).items()
    }
    return Outcome("ok", values=values, parts=parts, key=row.key, digests=digests)


def _known_digests(row: FeedRow, index: int, outcome: Outcome) -> dict[str, str]:
    """Return the SHA-256 of an image's parts that are the source's own bytes: hashing those named the row."""
    source = row.items[index].source
    if source is None or source.panel is not None or source.lens is not None:
        return {}
    return {name: row.digests[index] for name, data in outcome.parts.items() if data is source.data}
