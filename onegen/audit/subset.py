"""A dataset of some samples of another: `onegen subset DATASET OUT --where "..."`. Nothing is computed again.

Plan rows, index values and part bytes are copied in the order they have, into shards filled up again. Recipe, source,
fingerprints stay those of the dataset: what a row was made from is not changed by who its neighbours are, so a build of
the recipe finds every column current and adds only what is new. How many rows were left out, and by which expression,
stands with the plan's other omissions.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from onegen.audit.export.samples import part_of
from onegen.audit.readable import readable
from onegen.audit.readme import write_readme
from onegen.errors import ConfigError
from onegen.sample import IMAGE, PACKED, SELECT
from onegen.shards.canonical import canonical, sha256
from onegen.shards.column import ColumnReader, ColumnWriter
from onegen.shards.dataset import CARD, Card, ColumnSummary, Dataset
from onegen.shards.index import Row
from onegen.shards.manifest import Manifest, Run, inputs_digest
from onegen.shards.plan import PlannedItem, plan_digest, plan_file, plan_name, read_plan
from onegen.shards.scope import fields_of, scope_of
from onegen.shards.takedowns import Takedowns, append_takedowns, read_takedowns, taken_positions
from onegen.shards.where import Scope, columns_in, evaluate_rows
from onegen.storage.local import LocalStore
from onegen.storage.whole import whole_folder

Places = Sequence[tuple[int, int]]
"""Which rows of the dataset make a shard of the subset: (shard, position), in plan order."""


@dataclass(frozen=True)
class Subset:
    """What was made: samples kept, samples that were not, and shards."""

    kept: int
    left: int
    shards: int


def subset(
    dataset: Dataset,
    out: Path,
    where: str | None,
    leave_out: Set[str] = frozenset(),
    only: Set[str] | None = None,
) -> Subset:
    """Make a dataset of the samples over which `where` is true, without the keys in `leave_out`, in a new folder.

    None is true of all; `only` are the keys that are asked, where not all are, of samples that `select` kept. None that
    was taken down is; the list goes along. Raises ConfigError: a dataset that is not complete, an expression that is no
    boolean of its columns, no sample over which it is true, a key that is no sample's, a damaged shard, a folder that
    is there.
    """
    card = _complete(dataset)
    scope = scope_of(dataset, [column for column in card.columns if column != SELECT])
    columns = set() if where is None else columns_in(where, scope)
    if only is not None:
        _require_keys(dataset, card, only)
    with whole_folder(out) as folder:
        copier = _Copier(dataset, card, Dataset(LocalStore(str(folder))))
        takedowns = read_takedowns(dataset.store)
        append_takedowns(LocalStore(str(folder)), takedowns.entries)
        asked = _Asked(where, {column: scope[column] for column in columns}, leave_out, only)
        chosen = _chosen(dataset, card, asked, takedowns)
        shards = kept = 0
        for places in _cut(chosen, int(card.recipe["samples_per_shard"])):
            copier.copy(shards, places)
            shards, kept = shards + 1, kept + len(places)
        if not kept:
            raise ConfigError(
                f"a sample must be chosen, got {asked.told()}, which is none of {card.plan.items:,}. Ask for more."
            )
        left = card.plan.items - kept
        copier.finish(shards, kept, {f"not in the subset ({asked.told()})": left} if left else {})
        (folder / ".tmp").rmdir()
    return Subset(kept, left, shards)


def _complete(dataset: Dataset) -> Card:
    card = dataset.require_card()
    if card.state != "complete" or card.digest is None:
        made = len(dataset.shards(IMAGE))
        raise ConfigError(
            f"{dataset.store.url} must be complete, and is being built ({made:,} of {card.plan.shards:,} shards have "
            f"images). Finish it with `onegen build`."
        )
    return card


@dataclass(frozen=True)
class _Asked:
    """Which samples are wanted: those of an expression over the columns in `scope`, of these keys, without those."""

    where: str | None
    scope: Scope
    leave_out: Set[str]
    only: Set[str] | None

    def holds(self, rows: Mapping[str, Sequence[Row]]) -> Sequence[bool]:
        """Say of each position of a shard, whose image column is in `rows`, whether its sample is wanted."""
        named = [self._is_named(row.key) for row in rows[IMAGE]]
        if self.where is None:
            return named
        answers = evaluate_rows(self.where, {column: rows[column] for column in self.scope}, self.scope)
        return [is_named and holds for is_named, holds in zip(named, answers.holds, strict=True)]

    def _is_named(self, key: str | None) -> bool:
        return key not in self.leave_out and (self.only is None or key in self.only)

    def told(self) -> str:
        """Return in words what is asked for."""
        keys = None if self.only is None else f"{len(self.only):,} keys"
        return " and ".join(filter(None, (self.where, keys)))


def _require_keys(dataset: Dataset, card: Card, only: Set[str]) -> None:
    """Raise ConfigError for a key that no sample has that `select` kept."""
    missing = set(only)
    for shard in range(card.plan.shards):
        with readable(f"shard {shard:06d}"):
            missing -= {row.key for row in dataset.rows(dataset.require_manifest(SELECT, shard)) if row.status == "ok"}
    if missing:
        raise ConfigError(
            f"keys must be of samples that select kept, got {min(missing)!r} and {len(missing) - 1:,} others that are "
            f"not. Keys are the tar member names; `onegen query` says what became of one."
        )


def _chosen(dataset: Dataset, card: Card, asked: _Asked, takedowns: Takedowns) -> Iterator[tuple[int, int, int]]:
    """Yield (shard, position, number of images) of the samples that are kept, in plan order."""
    for shard in range(card.plan.shards):
        with readable(f"shard {shard:06d}"):
            rows = {c: dataset.rows(dataset.require_manifest(c, shard)) for c in {*asked.scope, IMAGE, SELECT}}
            plan = read_plan(dataset.store, shard)
        taken = taken_positions(dataset, takedowns, dataset.require_manifest(IMAGE, shard))
        for position, holds in enumerate(asked.holds(rows)):
            is_kept = rows[IMAGE][position].status == rows[SELECT][position].status == "ok"
            if holds and is_kept and position not in taken:
                yield shard, position, len(plan[position].images)


def _cut(chosen: Iterable[tuple[int, int, int]], samples_per_shard: int) -> Iterator[Places]:
    """Yield the places of each shard: as many as their images allow, one at least, as plans are cut."""
    places: list[tuple[int, int]] = []
    images = 0
    for shard, position, count in chosen:
        if places and images + count > samples_per_shard:
            yield places
            places, images = [], 0
        places.append((shard, position))
        images += count
    if places:
        yield places


class _Copier:
    """Copies shard after shard into the new dataset, and says at the end what it is."""

    def __init__(self, dataset: Dataset, card: Card, out: Dataset) -> None:
        self._dataset, self._card, self._out = dataset, card, out
        self._plan_hash = hashlib.sha256()
        self._has_view = card.recipe.get("pack") is not None and bool(dataset.shards(PACKED))

    def copy(self, number: int, places: Places) -> None:
        """Write the plan and every column of one shard, made of these rows of the dataset."""
        plan = self._plan(places)
        for item in plan:
            self._plan_hash.update(canonical(item.content()) + b"\n")
        self._out.store.write(plan_name(number), plan_file(plan))
        digests = {"plan": plan_digest(self._out.store, number)}
        # Made from others: a column comes after those it is made from.
        for column in [*_in_order(self._dataset, self._card), *([PACKED] if self._has_view else [])]:
            manifest = self._column(column, number, places, digests, [item.item for item in plan])
            digests[column] = manifest.digest

    def finish(self, shards: int, items: int, omitted: Mapping[str, int]) -> None:
        """Say of every judged shard what select looked at, now that all are there, and write the card."""
        self._finish_select()
        columns = {
            column: ColumnSummary(counts=self._out.counts(column), producer=summary.producer)
            for column, summary in self._card.columns.items()
        }
        plan = self._card.plan.model_copy(
            update={
                "shards": shards,
                "items": items,
                "digest": self._plan_hash.hexdigest(),
                "passed_over": {**self._card.plan.passed_over, **omitted},
            }
        )
        ended = {"plan": plan, "columns": columns, "digest": self._out.digest(columns), "limit": None}
        ended["purged"] = read_takedowns(self._out.store).digest
        self._out.store.write(CARD, self._card.model_copy(update=ended).to_json())
        write_readme(self._out)

    def _plan(self, places: Places) -> list[PlannedItem]:
        plans = {shard: read_plan(self._dataset.store, shard) for shard in dict(places)}
        rows = (plans[shard][position] for shard, position in places)
        return [PlannedItem(position, item.item, item.images, item.sidecars) for position, item in enumerate(rows)]

    def _column(
        self, column: str, number: int, places: Places, digests: Mapping[str, str], items: Sequence[str]
    ) -> Manifest:
        with contextlib.ExitStack() as stack:
            readers = {}
            for shard in dict(places):
                with readable(f"shard {shard:06d} of {column}"):
                    readers[shard] = ColumnReader(self._dataset, self._dataset.require_manifest(column, shard))
                stack.callback(readers[shard].close)
            first = next(iter(readers.values())).manifest
            fields = fields_of(self._dataset, first)
            writer = stack.enter_context(
                ColumnWriter(self._out.store, column, number, fields, self._card.kind, first.producer.label())
            )
            if column == PACKED:
                writer.open()
            for position, (shard, old) in enumerate(places):
                row = readers[shard].rows[old]
                parts = {member.name: part_of(readers[shard], row, member) for member in row.parts}
                known = {member.name: member.sha256 for member in row.parts}
                writer.add(position, row.key, row.status, row.reason, row.input_digest, row.values, parts, known)
            files, counts, digest = writer.finish()
        run = _run_of([reader.manifest for reader in readers.values()], places, items)
        inputs = {name: digests.get(name, old) for name, old in first.inputs.items()}
        pending = {f"{number:06d}{n[n.index('.') :]}": n for n in files} if column == PACKED else None
        if pending:
            files = {plain: files[content] for plain, content in pending.items()}
        made = {"shard": number, "counts": counts, "files": files, "digest": digest, "run": run}
        made |= {"inputs": inputs, "input_digest": inputs_digest(inputs, first.where)}
        manifest = first.model_copy(update=made)
        self._out.commit(manifest, pending)
        return manifest

    def _finish_select(self) -> None:
        """Write what select was made from: all that it looks at, of the whole dataset."""
        manifests = list(self._out.shards(SELECT))
        rules = self._out.require_manifest(SELECT, manifests[0]).settings.get("options", {}).get("keep", {})
        scope = scope_of(self._out, [column for column in self._card.columns if column != SELECT])
        looked_at = {IMAGE, *(column for rule in rules.values() for column in columns_in(rule, scope))}
        inputs = {"dataset": sha256(self._out.digest(looked_at).encode())}
        for shard in manifests:
            manifest = self._out.require_manifest(SELECT, shard)
            made = {"inputs": inputs, "input_digest": inputs_digest(inputs, manifest.where)}
            self._out.commit(manifest.model_copy(update=made))


def _in_order(dataset: Dataset, card: Card) -> list[str]:
    """Return the columns, each after those that it is made from."""
    inputs = {column: set(dataset.require_manifest(column, 0).inputs) for column in card.columns}
    order: list[str] = []
    while len(order) < len(inputs):
        ready = [c for c in sorted(inputs) if c not in order and not (inputs[c] & inputs.keys()) - set(order)]
        order += ready or [c for c in sorted(inputs) if c not in order]
    return order


def _run_of(manifests: Sequence[Manifest], places: Places, items: Sequence[str]) -> Run:
    """Return how the rows were made, as their own shards tell it, with the failures that are among them."""
    first = manifests[0].run
    failures = {
        (manifest.shard, failure.position): failure for manifest in manifests for failure in manifest.run.failures
    }
    kept = [
        failures[place].model_copy(update={"position": position, "item": items[position]})
        for position, place in enumerate(places)
        if place in failures
    ]
    # The time was spent on the dataset; errors of an expression are not known by row.
    changed = {"failures": kept, "computed": 0, "where_errors": 0, "seconds": 0.0, "busy_seconds": 0.0}
    return first.model_copy(update=changed)
