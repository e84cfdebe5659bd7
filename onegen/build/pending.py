"""What is left to do in a step, and what may not be done without leave. DESIGN section 4, rule 9.

Nothing stale: a shard without a manifest, new rows, rows a retry names, rows whose gates opened or closed. Stale:
rows whose inputs or options changed since they were made; computing them again throws committed work away, so the
build names them and stops unless `--recompute` allows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from onegen.build.jobs import ColumnJob, Retry, StageJob, Task
from onegen.build.pack import PackJob
from onegen.build.refresh import is_current, plan_rows, read_inputs
from onegen.build.select import SelectJob
from onegen.build.steps import Step
from onegen.errors import ConfigError
from onegen.sample import PACKED
from onegen.shards.dataset import Dataset
from onegen.shards.manifest import Manifest, fingerprint, inputs_digest, settings_difference
from onegen.shards.plan import plan_digest


@dataclass(frozen=True)
class Leave:
    """What the user allowed.

    Columns `permitted` by --recompute, all that may `follow` (they and what is made from them), and the failures to
    retry by column.
    """

    permitted: frozenset[str] = frozenset()
    follow: frozenset[str] = frozenset()
    retries: Mapping[str, Retry] = field(default_factory=dict)


def stage_tasks(job: StageJob, dataset: Dataset, num_shards: int, leave: Leave) -> list[Task]:
    """Return the shards of a stage that need work, with the columns that need it.

    Raises ConfigError when committed rows are stale and their column is not among those allowed.
    """
    wanted: dict[int, list[str]] = {}
    stale: dict[str, list[int]] = {}
    for shard in range(num_shards):
        digests = _input_digests(dataset, job, shard)
        for column in job.columns:
            need = _need(dataset, column, shard, {name: digests[name] for name in _names(column)}, leave)
            if need == "stale":
                stale.setdefault(column.column, []).append(shard)
            if need:
                wanted.setdefault(shard, []).append(column.column)
    refused = {column: shards for column, shards in stale.items() if column not in leave.follow}
    if refused:
        lines = [
            f"  {name}: inputs changed in {len(shards)} shard(s), first {shards[0]:06d}. "
            f"Throw the work made from the old ones away with --recompute {name}."
            for name, shards in refused.items()
        ]
        raise ConfigError("\n".join(["inputs of committed work must not change silently:", *lines]))
    forced = _forced(job, wanted, leave)
    for name in forced:
        for shard in range(num_shards):
            wanted.setdefault(shard, []).append(name)
    return [
        Task(shard, tuple(columns), {c: r for c, r in leave.retries.items() if c in columns}, frozenset(forced))
        for shard, columns in sorted(wanted.items())
    ]


def pack_tasks(job: PackJob, dataset: Dataset, num_shards: int, force: bool = False) -> list[Task]:
    """Return the packed shards that are absent or made from something else; copying bytes again loses nothing.

    `force` returns all of them.
    """
    tasks: list[Task] = []
    for shard in range(num_shards):
        digests: dict[str, str] = {}
        for column in job.inputs:
            digests[column] = _require(dataset, column, shard).digest
        manifest = dataset.manifest(PACKED, shard)
        expected = inputs_digest(digests, job.where)
        if (
            force
            or manifest is None
            or manifest.input_digest != expected
            or manifest.fingerprint != fingerprint(job.settings)
        ):
            tasks.append(Task(shard, (PACKED,)))
    return tasks


def refuse_changed_options(dataset: Dataset, steps: list[Step], leave: Leave) -> None:
    """Raise ConfigError naming every column whose options changed since its shards were made, unless it is allowed."""
    lines: list[str] = []
    for step in steps:
        jobs: dict[str, ColumnJob | SelectJob] = {}
        if isinstance(step.job, StageJob):
            jobs = {job.column: job for job in step.job.columns}
        elif isinstance(step.job, SelectJob):
            jobs = {step.name: step.job}
        for column, job in jobs.items():
            if column not in leave.follow:
                lines += _changed_options(dataset, column, job)
    if lines:
        raise ConfigError("\n".join(["options of committed work must not change silently:", *lines]))


def _changed_options(dataset: Dataset, column: str, job: ColumnJob | SelectJob) -> list[str]:
    stale = [
        m for m in dataset.manifests(column) if m.fingerprint != job.fingerprint and m.counts.skipped < m.counts.rows
    ]
    if not stale:
        return []
    difference = "; ".join(settings_difference(stale[0].settings, job.settings))
    return [
        f"  {column}: {difference} ({len(stale)} shard(s)). "
        f"Put it back, or throw that work away with --recompute {column}."
    ]


def _need(dataset: Dataset, job: ColumnJob, shard: int, digests: Mapping[str, str], leave: Leave) -> str:
    """Return why a shard of a column needs work: absent, retry, refresh or stale; empty where it needs none."""
    manifest = dataset.manifest(job.column, shard)
    if manifest is None:
        return "absent"
    retry = leave.retries.get(job.column)
    wants_retry = retry is not None and any(retry.matches_reason(f.reason) for f in manifest.run.failures)
    if is_current(job, manifest, digests):
        return "retry" if wants_retry else ""
    plans = plan_rows(job, read_inputs(dataset, job, shard), dataset.rows(manifest), manifest.fingerprint, retry)
    return "stale" if any(plan.is_stale for plan in plans) else "refresh"


def _names(job: ColumnJob) -> tuple[str, ...]:
    return job.inputs or ("plan",)


def _input_digests(dataset: Dataset, job: StageJob, shard: int) -> dict[str, str]:
    """Return the digest of every input of a stage's shard, each manifest read once for all its columns."""
    # In order, so that what is missing is named from the beginning of the flow.
    names = dict.fromkeys(name for column in job.columns for name in _names(column))
    return {
        name: plan_digest(dataset.store, shard) if name == "plan" else _require(dataset, name, shard).digest
        for name in names
    }


def _require(dataset: Dataset, column: str, shard: int) -> Manifest:
    manifest = dataset.manifest(column, shard)
    if manifest is None:
        raise ConfigError(
            f"column {column!r} must be made before what is made from it; shard {shard:06d} is missing. "
            f"Leave --only out, or run `--only {column}` first."
        )
    return manifest


def _forced(job: StageJob, wanted: Mapping[int, list[str]], leave: Leave) -> list[str]:
    """Return columns the user wants again although nothing about them changed."""
    touched = {column for columns in wanted.values() for column in columns}
    return [
        column.column for column in job.columns if column.column in leave.permitted and column.column not in touched
    ]
