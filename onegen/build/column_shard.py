"""One shard of one column while it is made: rows copied, taken over, skipped or computed, and the manifest."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from onegen.build.appetite import Appetite
from onegen.build.jobs import ColumnJob
from onegen.build.outcome import Outcome
from onegen.build.refresh import Inputs, RowPlan, plan_rows, read_inputs
from onegen.config.recipe import LimitsConfig
from onegen.errors import Breaker
from onegen.executor.contract import Task
from onegen.shards.column import ColumnReader, ColumnWriter
from onegen.shards.dataset import Dataset
from onegen.shards.journal import Journal
from onegen.shards.manifest import FailureRecord, Manifest
from onegen.shards.run import Device, describe_run, peak_gpu
from onegen.shards.views import failed_reasons, stored_fields

LEAST_ROWS = 2
"""Rows of a shard that must fail before a stage may be called broken."""


class ColumnShard:
    """One column of the shard being made: its row plans, its committed predecessor, what the dead left, its writer."""

    def __init__(self, dataset: Dataset, job: ColumnJob, task: Task, limits: LimitsConfig) -> None:
        self.job, self.column = job, job.column
        self._limits, self._shard = limits, task.shard
        self._started = time.time()
        self.busy_seconds = 0.0
        self.inputs: Inputs = read_inputs(dataset, job, task.shard)
        manifest = dataset.manifest(job.column, task.shard)
        self._old = ColumnReader(dataset, manifest) if manifest else None
        self.plans: list[RowPlan] = plan_rows(
            job,
            self.inputs,
            self._old.rows if self._old else None,
            manifest.fingerprint if manifest else None,
            task.retries.get(job.column),
            job.column in task.force,
        )
        planned = {position for position, plan in enumerate(self.plans) if plan.action == "compute"}
        self._num_planned = len(planned)
        self.unpinned = planned if job.column in task.unpinned else planned & self._positions_without_work()
        self._journal = Journal(dataset.store, job.column, task.shard, task.takes_over)
        self._taken_over = {
            position: row
            for position, row in self._journal.rows.items()
            if position in planned and row.input_digest == self.plans[position].input_digest
        }
        self.to_compute = planned - set(self._taken_over)
        self._old_failures: dict[int, list[FailureRecord]] = defaultdict(list)
        for failure in manifest.run.failures if manifest else ():
            self._old_failures[failure.position].append(failure)
        self._failures: list[FailureRecord] = []
        self._unexpected: Counter[str] = Counter()
        kind = job.provenance.kind
        fields = stored_fields(job.column, job.annotator.provides.fields, kind)
        label = job.provenance.producer.label()
        self._writer = ColumnWriter(dataset.store, job.column, task.shard, fields, kind, label)

    def __enter__(self) -> "ColumnShard":
        self._journal.__enter__()
        self._writer.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._writer.__exit__(*error)
        self._journal.__exit__(*error)
        if self._old:
            self._old.close()

    def write(self, positions: Sequence[int], outcomes: Mapping[int, Outcome]) -> None:
        """Write the next rows in order: copied, skipped, or as they came out."""
        for position in positions:
            plan = self.plans[position]
            if plan.action == "copy":
                self._copy(position, plan)
            elif plan.action == "skip":
                self._writer.add(position, plan.key, "skipped", plan.reason, plan.input_digest, {}, {})
            elif position in self._taken_over:
                self._take_over(position)
            else:
                self._compute(position, plan, outcomes[position])
        self._note(positions)

    def finish(self, appetite: Appetite) -> Manifest:
        """Write the files and return the manifest to commit; `appetite` says what the worker's device could hold."""
        where_errors = sum(plan.is_where_error for plan in self.plans)
        device = Device(self.busy_seconds, peak_gpu(), appetite.halvings, appetite.smallest)
        run = describe_run(self._started, self._num_planned, self._failures, where_errors, device)
        return self.job.provenance.manifest(self._shard, *self._writer.finish(), self.inputs.digests, run)

    def _positions_without_work(self) -> set[int]:
        """Return the rows that hold nothing a changed source could contradict."""
        rows = self._old.rows if self._old else ()
        return {row.position for row in rows if row.status == "skipped" or failed_reasons(row)}

    def _note(self, positions: Sequence[int]) -> None:
        """Note what was computed, so that it survives this process; failures are few, and tried again with it."""
        computed = [self._writer.row(p) for p in positions if self.plans[p].action == "compute"]
        kept = [row for row in computed if not failed_reasons(row)]
        if kept:
            self._journal.note(self._writer.flush(), kept)

    def _copy(self, position: int, plan: RowPlan) -> None:
        old = plan.old
        assert old is not None
        assert self._old is not None
        digests = {member.name: member.sha256 for member in old.parts}
        self._writer.add(
            position, old.key, old.status, old.reason, plan.input_digest, old.values, self._old.parts(old), digests
        )
        self._failures += self._old_failures[position]

    def _take_over(self, position: int) -> None:
        """Write a row that a worker before this one had computed when it died."""
        row = self._taken_over[position]
        parts = self._journal.parts(row)
        self._writer.add(position, row.key, row.status, row.reason, row.input_digest, row.values, parts)

    def _compute(self, position: int, plan: RowPlan, outcome: Outcome) -> None:
        # The bytes of an image name its row; other columns have the key of the row they are made from.
        key = plan.key if self.job.gates else outcome.key
        self._writer.add(
            position,
            key,
            outcome.status,
            outcome.reason,
            plan.input_digest,
            outcome.values,
            outcome.parts,
            outcome.digests,
        )
        if outcome.status == "failed":
            self._note_failure(position, outcome)
        item = self.inputs.plan[position].item
        self._failures += [
            FailureRecord(position=position, item=item, reason=lost.reason, message=lost.message, attempts=1)
            for lost in outcome.lost
            if lost.status == "failed"
        ]

    def _note_failure(self, position: int, outcome: Outcome) -> None:
        item = self.inputs.plan[position].item
        reason = outcome.reason or "unknown"
        self._failures.append(
            FailureRecord(
                position=position, item=item, reason=reason, message=outcome.message, attempts=outcome.attempts
            )
        )
        if outcome.is_expected:
            return
        self._unexpected[reason] += 1
        failures, num_rows = self._unexpected[reason], sum(plan.action != "skip" for plan in self.plans)
        # All of a shard too small for that count; of one row nobody can tell whether the row or the stage is at fault.
        count = min(self._limits.breaker_count, max(LEAST_ROWS, num_rows))
        if failures >= count and failures > self._limits.breaker_rate * num_rows:
            raise Breaker(
                f"column {self.column} must not fail most of a shard: {failures} of {num_rows} rows of shard "
                f"{self._shard:06d} failed with {reason}: {outcome.message}\n"
                f"Mend the cause, then run the same command again."
            )
