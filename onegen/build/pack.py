"""The packed view: one tar a shard with the chosen columns, for any WebDataset reader.

Parts are copied as raw bytes with the digests their columns committed; everything else about a sample goes into one
`key.json`. The index keeps one row per plan item, packed or not. docs/contract.md, rules 8 and 10.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from onegen.build.drawn import draw
from onegen.build.jobs import Permissions
from onegen.build.steps import Commit, OnWorkers
from onegen.config.recipe import PACK
from onegen.errors import SampleError
from onegen.executor.contract import Finished, RowsStarted, ShardResult, Task
from onegen.sample import IMAGE, PACKED, SELECT, Kind, Provides, Resources, Status
from onegen.shards.canonical import canonical
from onegen.shards.column import ColumnReader, ColumnWriter
from onegen.shards.dataset import Dataset, MissingColumn, made_so
from onegen.shards.index import Row
from onegen.shards.manifest import Producer, Provenance
from onegen.shards.run import describe_run
from onegen.shards.tar import Member
from onegen.shards.views import FEW_IMAGES, OTHERS, SETS, kept_images, narrowed, part_name, split_name, stored_fields
from onegen.shards.where import Answers, evaluate_rows
from onegen.storage.store import Store
from onegen.tasks.conditions import VERSION as DRAWING

BEAT_ROWS = 256
_PRODUCER = Producer(name=PACK, version=1)


@dataclass(frozen=True)
class PackJob:
    """How the packed view is made.

    The columns whose parts and values go in, those without which a sample is left out, the dataset's `where`, and the
    conditions to draw. `scope` says which fields each column has, `drawn_from` what those store that are drawn from.
    """

    store: Store
    kind: Kind
    columns: tuple[str, ...]
    require: tuple[str, ...]
    scope: Mapping[str, Mapping[str, pa.DataType]]
    where: str | None = None
    where_columns: tuple[str, ...] = ()
    render: tuple[str, ...] = ()
    least_images: int = 1
    drawn_from: Mapping[str, Provides] = field(default_factory=dict)

    @property
    def provenance(self) -> Provenance:
        """What changes the packed bytes."""
        settings = {
            "name": PACK,
            "version": _PRODUCER.version,
            "columns": list(self.columns),
            "require": list(self.require),
            "where": self.where,
            "render": list(self.render),
        }
        drawing: dict[str, Any] = {"drawing": DRAWING} if self.render else {}
        if self.kind in SETS:
            drawing["least_images"] = self.least_images
        return Provenance(PACKED, self.kind, settings | drawing, _PRODUCER, self.where)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Every column the view is made from."""
        others = (*self.columns, *self.require, *self.where_columns, *self.drawn_from)
        return tuple(dict.fromkeys((IMAGE, SELECT, *others)))

    def load(self) -> None:
        """Do nothing: packing has no model."""

    def perform(self, task: Task) -> Iterator[RowsStarted | Finished]:
        """Write the packed tar and index of one shard under content names.

        Yields now and then on the way, as a sign of life: no row is to blame for a death while bytes are copied. The
        manifest names the files plainly; the result says which content name each has until it is committed.
        """
        dataset, started = Dataset(self.store), time.time()
        with ExitStack() as stack:
            readers = _open(dataset, self, task.shard)
            for reader in readers.values():
                stack.callback(reader.close)
            fields = {column: stored_fields(column, self.scope[column], self.kind) for column in self.columns}
            values: dict[str, pa.DataType] = {c: pa.struct(list(own.items())) for c, own in fields.items() if own}
            writer = stack.enter_context(
                ColumnWriter(self.store, PACKED, task.shard, values, self.kind, _PRODUCER.label())
            )
            writer.open()
            wanted = _where(self, readers)
            for position in range(len(readers[IMAGE].rows)):
                # Copying a row takes no time; drawing one may take seconds.
                if self.render or position % BEAT_ROWS == 0:
                    yield RowsStarted(PACKED, task.shard, ())
                rows = {column: reader.rows[position] for column, reader in readers.items()}
                _add(self, writer, readers, rows, wanted.holds[position] if wanted else True)
            content, counts, digest = writer.finish()
        inputs = {column: reader.manifest.digest for column, reader in readers.items()}
        pending = {f"{task.shard:06d}{name[name.index('.') :]}": name for name in content}
        files = {plain: content[name] for plain, name in pending.items()}
        run = describe_run(started, counts.ok, where_errors=len(wanted.errors) if wanted else 0)
        manifest = self.provenance.manifest(task.shard, files, counts, digest, inputs, run)
        yield Finished(ShardResult((manifest,), pending))


@dataclass(frozen=True)
class PackStep:
    """Packing as the last step of a build. Copying bytes again loses nothing, so it asks for no permission."""

    job: PackJob
    name: str = PACK
    columns: tuple[str, ...] = (PACKED,)
    made_from: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, Provenance] = field(default_factory=dict)
    workers: int | None = None
    resources: Resources = field(default_factory=Resources)

    def tasks(self, dataset: Dataset, num_shards: int, permissions: Permissions) -> list[Task]:
        """Return the packed shards that are absent or made from something else; all of them where permitted."""
        inputs = {column: made_so(dataset, column) for column in self.job.inputs}
        packed = made_so(dataset, PACKED)
        tasks: list[Task] = []
        for shard in range(num_shards):
            for column, made in inputs.items():
                if shard not in made:
                    raise MissingColumn(column, shard)
            digests = {column: made[shard].digest for column, made in inputs.items()}
            is_current = shard in packed and self.job.provenance.is_current(packed[shard], digests)
            if not is_current or PACKED in permissions.permitted:
                tasks.append(Task(shard, self.columns))
        return tasks

    def run(self, dataset: Dataset, tasks: Sequence[Task], commit: Commit, on_workers: OnWorkers) -> None:
        """Pack on workers."""
        on_workers(self.job, tasks)


def _open(dataset: Dataset, job: PackJob, shard: int) -> dict[str, ColumnReader]:
    return {column: ColumnReader(dataset, dataset.require_manifest(column, shard)) for column in job.inputs}


def _where(job: PackJob, readers: Mapping[str, ColumnReader]) -> Answers | None:
    if job.where is None:
        return None
    scope = {column: job.scope[column] for column in job.where_columns}
    gates = [readers[column].rows for column in (SELECT, *job.require) if column != IMAGE]
    return evaluate_rows(job.where, {column: readers[column].rows for column in scope}, scope, gates)


def _add(
    job: PackJob, writer: ColumnWriter, readers: Mapping[str, ColumnReader], rows: Mapping[str, Row], is_wanted: bool
) -> None:
    image = rows[IMAGE]
    status, reason = _verdict([(column, rows[column]) for column in (IMAGE, SELECT, *job.require)], is_wanted)
    kept = list(range(len(image.parts)))
    if status == "ok" and job.kind in SETS:
        kept = kept_images(image, [rows[column] for column in (SELECT, *job.require) if column != IMAGE])
        if len(kept) < job.least_images:
            status, reason = "filtered", FEW_IMAGES
    if status != "ok":
        writer.add(image.position, image.key, status, reason, "", {}, {})
        return
    present = [column for column in job.columns if rows[column].status == "ok"]
    packed, members = _packed(job, readers, rows, present, kept)
    values = {column: dict(packed[column]) for column in present if job.scope[column]}
    parts = {name: readers[column].part(member) for column, name, member in members}
    known = {name: member.sha256 for _, name, member in members}
    wanted = dict.fromkeys([*job.columns, *job.drawn_from])
    missing = [_missing(column, rows[column]) for column in wanted if rows[column].status != "ok"]
    drawn: dict[str, bytes] = {}
    try:
        drawn = draw(job.render, readers, rows, job.drawn_from, kept, job.kind) if job.render else {}
    except SampleError as error:
        missing.append({"column": "render", "status": "failed", "reason": error.reason})
    drawn["json"] = canonical(_about(job, readers, rows, packed, missing))
    parts |= drawn
    writer.add(image.position, image.key, "ok", None, "", values, parts, known)


def _packed(
    job: PackJob,
    readers: Mapping[str, ColumnReader],
    rows: Mapping[str, Row],
    present: Sequence[str],
    kept: Sequence[int],
) -> tuple[dict[str, Mapping[str, Any]], list[tuple[str, str, Member]]]:
    """Return what is packed of the columns of a sample: values by column; and column, name and member of each part.

    A set holds the images it kept, numbered anew and one after another.
    """
    if job.kind not in SETS:
        members = [(column, member.name, member) for column in present for member in rows[column].parts]
        return {column: rows[column].values for column in present}, members
    places = {index: place for place, index in enumerate(kept)}
    named = [
        (column, part_name(places[index], name, job.kind), member)
        for column in present
        for member in rows[column].parts
        for index, name in [split_name(member.name)]
        if index in places
    ]
    return {column: narrowed(rows[column], kept) for column in present}, named


def _verdict(needed: Sequence[tuple[str, Row]], is_wanted: bool) -> tuple[Status, str | None]:
    """Return the status of a sample in the view: the first needed column that is not ok decides."""
    for column, row in needed:
        if row.status != "ok":
            origin = row.reason.rpartition(":")[2] if row.status == "skipped" and row.reason else row.status
            return ("failed" if origin == "failed" else "filtered"), f"{column}:{row.status}"
    return ("ok", None) if is_wanted else ("filtered", "where")


def _about(
    job: PackJob,
    readers: Mapping[str, ColumnReader],
    rows: Mapping[str, Row],
    packed: Mapping[str, Mapping[str, Any]],
    missing: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return what `key.json` says of a sample: origin, rights, annotations, who made them, and what is missing."""
    facts = _known(packed[IMAGE])
    for picture in (facts, *facts.get(OTHERS, ())):
        # As hex digits: half of all hashes are over 2**63, which readers that want a signed number refuse.
        picture["phash"] = f"{picture['phash']:016x}"
    about = {
        "key": rows[IMAGE].key,
        "kind": job.kind,
        **facts,
        "annotations": {column: _known(own) for column, own in packed.items() if column not in (IMAGE, SELECT)},
        "producers": {column: readers[column].manifest.producer.label() for column in packed},
    }
    if missing:
        # Left out otherwise: readers that take types from the first samples cannot give an empty list one.
        about["missing"] = list(missing)
    return about


def _missing(column: str, row: Row) -> dict[str, Any]:
    return {"column": column, "status": row.status, "reason": row.reason}


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a row, of each image; what is not known is left out."""
    known = {name: value for name, value in values.items() if value is not None}
    if OTHERS in known:
        known[OTHERS] = [_known(other or {}) for other in known[OTHERS]]
    return known
