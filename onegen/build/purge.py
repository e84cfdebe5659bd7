"""Make every file of a dataset anew without what was taken down: `onegen purge`. docs/growth.md.

No source is read, no model loaded and no recipe asked: rows are copied as bytes, and of those that were taken down a
tombstone is left (no key, no value but the plan's item). A set that goes on without an image gets the key of those
left; what was made of it is thrown away, and `onegen build` makes it again. Of a shard the image column is committed
last: whatever is killed before, the next purge finds it as it was.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from onegen.audit.readable import readable
from onegen.audit.readme import write_readme
from onegen.build.select import SelectStep
from onegen.config.parse import parse
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError
from onegen.sample import IMAGE, PACKED, SELECT, Status
from onegen.shards.column import ColumnReader, ColumnWriter
from onegen.shards.dataset import CARD, Card, ColumnSummary, Dataset, file_of, folder
from onegen.shards.index import Row, read_fields
from onegen.shards.manifest import Manifest, inputs_digest
from onegen.shards.plan import PlannedItem, read_plan
from onegen.shards.scope import fields_of, scope_of
from onegen.shards.sweep import sweep
from onegen.shards.takedowns import MATCHED, TAKEDOWN, Takedowns, Taken, is_divisible, read_takedowns
from onegen.shards.views import DROPPED, SETS, dropped, key_of, narrowed, part_name, split_name, values_of
from onegen.shards.where import columns_in
from onegen.storage.lease import lease
from onegen.storage.store import Store

DERIVED = ("report", "catalog", "log")
"""Folders of what is made of a dataset and may show its samples: they are deleted, and made again when asked for."""
GONE = f"{IMAGE}:filtered"
"""Reason of the rows that were made from one that was taken down."""
CHANGED = f"{IMAGE}:{TAKEDOWN}"
"""Reason of the rows that were made from a set when it had all its images, until they are made again."""


@dataclass
class Purged:
    """What a purge did: samples removed, sets that go on without images, shards made anew, files deleted.

    `left` are the columns that a build has to finish; `digest` is the dataset's, None where there are any.
    """

    samples: int = 0
    sets: int = 0
    shards: int = 0
    deleted: int = 0
    left: tuple[str, ...] = ()
    digest: str | None = None


def purge(dataset: Dataset) -> Purged:
    """Remove what was taken down from every file of a dataset.

    Raises ConfigError for a damaged file and for a packed view alone, LeaseHeld while the dataset is being built.
    """
    dataset.require_card()
    with lease(dataset.store):
        card, takedowns = dataset.require_card(), read_takedowns(dataset.store)
        purged = Purged(digest=card.digest)
        if not takedowns:
            return purged
        if not dataset.shards(IMAGE) and dataset.shards(PACKED):
            raise ConfigError(
                f"{dataset.store.url} must have its columns to be purged, and has the packed view alone. Purge the "
                f"dataset that it was made from, and publish that again."
            )
        sweep(dataset)
        for name in DERIVED:
            purged.deleted += _delete_all(dataset.store, name)
        work = _Purge(dataset, card, takedowns, purged)
        for shard in dataset.shards(IMAGE):
            with readable(f"shard {shard:06d}"):
                work.shard(shard)
        work.finish()
        return purged


def _delete_all(store: Store, where: str) -> int:
    """Delete the files in a folder and below, following no link; return how many."""
    if store.is_link(where):
        return 0
    names = [name for name in store.names(where) if not store.is_link(f"{where}/{name}")]
    for name in names:
        store.delete(f"{where}/{name}")
    count = len(names) + sum(_delete_all(store, f"{where}/{name}") for name in store.folders(where))
    store.remove_folder(where)
    return count


@dataclass
class _Changes:
    """What becomes of the rows of a shard: those that are gone, and sets with the images they keep."""

    gone: set[int] = field(default_factory=set)
    sets: dict[int, tuple[Row, Sequence[int]]] = field(default_factory=dict)


@dataclass
class _Purge:
    """A purge under way."""

    dataset: Dataset
    card: Card
    takedowns: Takedowns
    purged: Purged
    is_open: bool = False

    def shard(self, shard: int) -> None:
        """Make one shard of every column anew, where anything of it is taken down."""
        image = self.dataset.require_manifest(IMAGE, shard)
        candidates = self._candidates(image)
        if not candidates:
            return
        changes, removed = self._judge(image, candidates)
        others = [column for column in (*self.dataset.columns(), PACKED) if column != IMAGE]
        manifests = {c: found for c in others if (found := self.dataset.manifest(c, shard)) is not None}
        manifests = {
            column: manifest
            for column, manifest in manifests.items()
            if removed or changes.sets or not self._is_clean(manifest, changes.gone)
        }
        if not (removed or changes.sets or manifests):
            return
        self._reopen()
        digests: dict[str, str] = {}
        image_anew: Manifest | None = None
        if removed or changes.sets:
            image_anew = self._rewrite(image, changes, _image_row(changes), {})
            digests[image.digest] = image_anew.digest
        for column in _in_order(manifests):
            manifest = manifests[column]
            # What is made of a set that changed is left as it is: stale, for a build to make again.
            known = {} if changes.sets and column != SELECT else digests
            made = self._rewrite(manifest, changes, _other_row(column, changes), known)
            digests[manifest.digest] = made.digest
            pending = _pending(made) if column == PACKED else None
            self.dataset.commit(_plain(made, pending), pending)
        if image_anew is not None:
            self.dataset.commit(image_anew)
        self.purged.samples += len(removed)
        self.purged.sets += len(changes.sets)
        self.purged.shards += 1

    def finish(self) -> None:
        """Judge again what select kept, and close the card: with a version where nothing is left to be made."""
        step = self._select_step()
        if step is not None:
            stale = self._stale_verdicts(step)
            for manifest in step.judge(self.dataset, stale) if stale else ():
                self._reopen()
                self.dataset.commit(manifest)
        was_complete = self.card.state == "complete"
        left = tuple(_unfinished(self.dataset, self.card, step)) if self.is_open else ()
        is_complete = was_complete and not left
        columns = {
            name: ColumnSummary(counts=self.dataset.counts(name), producer=summary.producer)
            for name, summary in self.card.columns.items()
        }
        self.purged.left = left if was_complete else (left or ("what an earlier run left",))
        self.purged.digest = self.dataset.digest(columns) if is_complete else None
        ended: dict[str, Any] = {"columns": columns, "purged": self.takedowns.digest}
        ended |= {"state": "complete" if is_complete else "building", "digest": self.purged.digest}
        self.dataset.store.write(CARD, self.card.model_copy(update=ended).to_json())
        write_readme(self.dataset)

    def _reopen(self) -> None:
        """Say once that the dataset has no version until this is done."""
        if not self.is_open:
            opened = self.card.model_copy(update={"state": "building", "digest": None})
            self.dataset.store.write(CARD, opened.to_json())
            self.is_open = True

    def _candidates(self, image: Manifest) -> frozenset[int]:
        """Return rows that entries may match, and those that are tombstones already."""
        with self.dataset.store.open(f"{folder(IMAGE)}/{file_of(image, '.parquet')}") as file:
            keys, table = read_fields(pq.ParquetFile(file), ("reason", *MATCHED))
        taken = self.takedowns.rows(keys, table)
        reasons = pc.fill_null(pc.equal(table.column("reason"), TAKEDOWN), False)
        taken |= reasons.to_numpy()
        found = set(np.flatnonzero(taken).tolist())
        if uris := self.takedowns.values.get("uri"):
            for item in read_plan(self.dataset.store, image.shard):
                if item.item in uris or any(planned.uri in uris for planned in item.images):
                    found.add(item.position)
        return frozenset(found)

    def _judge(self, image: Manifest, candidates: frozenset[int]) -> tuple[_Changes, set[int]]:
        """Return what becomes of rows, and which of those that are gone still have to be removed."""
        rows, plan = self.dataset.rows(image), read_plan(self.dataset.store, image.shard)
        changes, removed = _Changes(), set()
        for position in sorted(candidates):
            row = rows[position]
            if row.reason == TAKEDOWN and row.status == "filtered":
                changes.gone.add(position)
                continue
            taken = self._taken(row, plan[position])
            if taken.whole:
                changes.gone.add(position)
                removed.add(position)
            elif taken.images and row.status == "ok":
                changes.sets[position] = _without(row, taken.images, image)
        return changes, removed

    def _taken(self, row: Row, item: PlannedItem) -> Taken:
        members = row.values.get("members") or []
        numbers = _numbers(row)
        digests = dict(zip(numbers, members, strict=False))
        uris = {number: values_of(row, index).get("uri") for index, number in enumerate(numbers)}
        if self.card.kind not in SETS:
            uris = {number: uri for number, uri in uris.items() if number == 0}
        may_lose = is_divisible(self.card.kind, str(self.card.recipe.get("incomplete", "keep")))
        return self.takedowns.judge(item, may_lose, [row.key], row.values.get("subject"), digests, uris)

    def _is_clean(self, manifest: Manifest, gone: set[int]) -> bool:
        """Say whether a shard of another column says nothing of rows that are gone."""
        rows = self.dataset.rows(manifest)
        return all(rows[position].key is None and rows[position].status != "ok" for position in gone)

    def _rewrite(
        self,
        manifest: Manifest,
        changes: _Changes,
        changed: "Callable[[Row], tuple[Row, Mapping[str, str]] | None]",
        digests: Mapping[str, str],
    ) -> Manifest:
        """Write a shard anew, changed rows as `changed` says; return its manifest, which is not committed.

        `digests` says what became of those of its inputs that were made anew; `changed` gives a row without parts, and
        by old name what its parts are called.
        """
        column, store = manifest.column, self.dataset.store
        reader = ColumnReader(self.dataset, manifest)
        label = manifest.producer.label()
        fields = fields_of(self.dataset, manifest)
        try:
            with ColumnWriter(store, column, manifest.shard, fields, manifest.kind, label) as writer:
                if column == PACKED:
                    writer.open()
                for old in reader.rows:
                    row, names = changed(old) or (old, {member.name: member.name for member in old.parts})
                    kept = [member for member in old.parts if member.name in names]
                    parts = {names[member.name]: reader.part(member) for member in kept}
                    known = {names[member.name]: member.sha256 for member in kept}
                    told = (row.position, row.key, row.status, row.reason, row.input_digest, row.values)
                    writer.add(*told, parts, known)
                files, counts, digest = writer.finish()
        finally:
            reader.close()
        lost = changes.gone | (changes.sets.keys() if column != IMAGE else set())
        run = manifest.run.model_copy(
            update={"failures": [one for one in manifest.run.failures if one.position not in lost]}
        )
        inputs = {name: digests.get(old, old) for name, old in manifest.inputs.items()}
        made = {"files": files, "counts": counts, "digest": digest, "run": run, "inputs": inputs}
        return manifest.model_copy(update={**made, "input_digest": inputs_digest(inputs, manifest.where)})

    def _select_step(self) -> SelectStep | None:
        """Return the barrier that judged the dataset; None where it is not whole, or a recipe since has other rules."""
        shards = list(range(self.card.plan.shards))
        if self.dataset.shards(IMAGE) != shards or self.dataset.shards(SELECT) != shards:
            return None
        recipe = parse(Recipe, self.card.recipe, f"recipe of {CARD}")
        scope = scope_of(self.dataset, [column for column in self.dataset.columns() if column != SELECT])
        named = {column for rule in recipe.select.keep.values() for column in columns_in(rule, scope)}
        is_whole = recipe.kind in SETS and recipe.incomplete == "fail"
        inputs = tuple(sorted({IMAGE, *named}))
        step = SelectStep(recipe.select, recipe.kind, scope, inputs, is_whole=is_whole)
        fingerprint = step.provenance.fingerprint
        return step if all(one.fingerprint == fingerprint for one in self.dataset.manifests(SELECT)) else None

    def _stale_verdicts(self, step: SelectStep) -> set[int]:
        inputs = step.input_digests(self.dataset)
        return {one.shard for one in self.dataset.manifests(SELECT) if not step.provenance.is_current(one, inputs)}


def _numbers(row: Row) -> list[int]:
    """Return the number in the plan of each stored image of a row of the image column."""
    absent = {entry["image"] for entry in dropped(row)}
    count = len(row.values.get("members") or ()) + len(absent)
    return [number for number in range(count) if number not in absent]


def _without(row: Row, taken: frozenset[int], image: Manifest) -> tuple[Row, Sequence[int]]:
    """Return the row of a set without the images of these numbers in the plan, and which stored ones are kept."""
    numbers = _numbers(row)
    kept = [index for index, number in enumerate(numbers) if number not in taken]
    lost = [entry for entry in dropped(row) if entry["image"] not in taken]
    lost += [{"image": number, "status": "filtered", "reason": TAKEDOWN} for number in sorted(taken)]
    values = {**narrowed(row, kept), DROPPED: sorted(lost, key=lambda entry: int(entry["image"]))}
    values["uri"] = values_of(row, kept[0])["uri"]
    changed = replace(row, values=values, parts=())
    return replace(changed, key=key_of(changed, image.kind)), kept


def _image_row(changes: _Changes) -> Callable[[Row], tuple[Row, Mapping[str, str]] | None]:
    """Return what becomes of a row of the image column."""

    def changed(row: Row) -> tuple[Row, Mapping[str, str]] | None:
        if row.position in changes.gone:
            values = {"item": row.values["item"]}
            return Row(row.position, None, "filtered", TAKEDOWN, (), row.input_digest, values), {}
        if row.position not in changes.sets:
            return None
        new, kept = changes.sets[row.position]
        places = {index: place for place, index in enumerate(kept)}
        is_scene = any(member.name.startswith("view") for member in row.parts)
        names = {
            member.name: part_name(places[index], name, "scene" if is_scene else "identity")
            for member in row.parts
            for index, name in [split_name(member.name)]
            if index in places
        }
        return new, names

    return changed


def _other_row(column: str, changes: _Changes) -> Callable[[Row], tuple[Row, Mapping[str, str]] | None]:
    """Return what becomes of a row of another column, or of the packed view."""
    status: Status = "filtered" if column == PACKED else "skipped"

    def changed(row: Row) -> tuple[Row, Mapping[str, str]] | None:
        if row.position in changes.gone:
            return Row(row.position, None, status, GONE), {}
        if row.position in changes.sets:
            return Row(row.position, changes.sets[row.position][0].key, status, CHANGED), {}
        return None

    return changed


def _in_order(manifests: Mapping[str, Manifest]) -> Iterator[str]:
    """Yield columns, each after those that it was made from; select has no column among its inputs."""
    left = dict(manifests)
    while left:
        ready = [column for column, manifest in left.items() if not manifest.inputs.keys() & (left.keys() - {column})]
        for column in sorted(ready) or sorted(left):
            del left[column]
            yield column


def _pending(manifest: Manifest) -> dict[str, str]:
    """Return the content name of each plain name of a packed shard."""
    return {f"{manifest.shard:06d}{name[name.index('.') :]}": name for name in manifest.files}


def _plain(manifest: Manifest, pending: Mapping[str, str] | None) -> Manifest:
    """Return the manifest of a packed shard with the plain names of its files; others as they are."""
    if pending is None:
        return manifest
    return manifest.model_copy(update={"files": {plain: manifest.files[name] for plain, name in pending.items()}})


def _unfinished(dataset: Dataset, card: Card, step: SelectStep | None) -> Iterator[str]:
    """Yield the columns of a card that are absent somewhere, or made from something else than what is committed."""
    columns = [*card.columns, *([PACKED] if card.recipe.get("pack") is not None else [])]
    digests = {(c, one.shard): one.digest for c in dataset.columns() for one in dataset.manifests(c)}
    for column in columns:
        seen = 0
        is_stale = column == SELECT and step is None
        for manifest in dataset.manifests(column):
            seen += 1
            is_stale = is_stale or any(
                digests.get((name, manifest.shard), digest) != digest for name, digest in manifest.inputs.items()
            )
        if is_stale or seen < card.plan.shards:
            yield column
