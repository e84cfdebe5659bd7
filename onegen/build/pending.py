"""What is left to do of columns, and what may not be done without permission. docs/contract.md, rule 9.

Nothing stale: a shard without a manifest, new rows, rows a retry names, rows whose gates opened or closed. Stale:
rows whose inputs or options changed since they were made; computing them again throws committed work away, so the
build names them and stops unless `--recompute` allows it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import pyarrow.compute as pc

from onegen.build.jobs import ColumnJob, Permissions
from onegen.build.refresh import plan_rows, read_inputs
from onegen.errors import ConfigError
from onegen.executor.contract import Task
from onegen.shards.dataset import Dataset, MissingColumn, made_so
from onegen.shards.index import Row
from onegen.shards.manifest import Made, Provenance, settings_difference
from onegen.shards.plan import plan_digest
from onegen.shards.views import failed_reasons

Need = Literal["nothing", "absent", "retry", "refresh", "stale"]
"""Why a shard of a column needs work; stale work is thrown away, and the other kinds lose nothing."""


def column_tasks(jobs: Sequence[ColumnJob], dataset: Dataset, num_shards: int, permissions: Permissions) -> list[Task]:
    """Return the shards that need work, with the columns that need it.

    Raises ConfigError when committed rows are stale and their column is not among those allowed, then MissingColumn.
    """
    # In order, so that what is missing is named from the beginning of the flow.
    inputs = {name: _digests(dataset, name) for job in jobs for name in _made_from(job)}
    made = {job.column: made_so(dataset, job.column) for job in jobs}
    wanted: dict[int, list[str]] = {}
    stale: dict[str, list[int]] = {}
    missing: MissingColumn | None = None
    for shard in range(num_shards):
        try:
            digests = _input_digests(dataset, inputs, shard)
        except MissingColumn as error:
            # What is stale elsewhere is refused before it is waited for.
            missing = missing or error
            continue
        for job in jobs:
            own = {name: digests[name] for name in _made_from(job)}
            need = _need(dataset, job, shard, made[job.column].get(shard), own, permissions)
            if need == "stale":
                stale.setdefault(job.column, []).append(shard)
            if need != "nothing":
                wanted.setdefault(shard, []).append(job.column)
    _refuse_stale({column: shards for column, shards in stale.items() if column not in permissions.follow})
    if missing is not None:
        raise missing
    forced = _forced(jobs, wanted, permissions)
    for column in forced:
        for shard in range(num_shards):
            wanted.setdefault(shard, []).append(column)
    return [
        Task(
            shard,
            tuple(columns),
            {column: retry for column, retry in permissions.retries.items() if column in columns},
            forced,
            permissions.permitted & set(columns),
        )
        for shard, columns in sorted(wanted.items())
    ]


def refuse_changed_options(dataset: Dataset, settings: Mapping[str, Provenance], permissions: Permissions) -> None:
    """Raise ConfigError naming every column whose options changed since its shards were made, unless it is allowed."""
    lines = [
        line
        for column, provenance in settings.items()
        if column not in permissions.follow
        for line in _changed_options(dataset, provenance)
    ]
    if lines:
        raise ConfigError("\n".join(["options of committed work must not change silently:", *lines]))


def unmatched_retry(dataset: Dataset, permissions: Permissions) -> str | None:
    """Return what to say where a retry names no failed row at all, None where it names some."""
    reasons: Counter[str] = Counter()
    for column, retry in permissions.retries.items():
        for row in _failed_rows(dataset, column, _with_failures(dataset, column)):
            if retry.matches(row):
                return None
            reasons.update(failed_reasons(row))
    if not permissions.retries:
        return None
    named = ", ".join(f"{reason} {number:,}" for reason, number in reasons.most_common())
    return f"no failed row matches the retry; {f'the reasons there are: {named}' if named else 'there are none'}"


def _refuse_stale(refused: Mapping[str, Sequence[int]]) -> None:
    if not refused:
        return
    lines = [
        f"  {column}: inputs changed in {len(shards)} shard(s), first {shards[0]:06d}. "
        f"Throw the work made from the old ones away with --recompute {column}."
        for column, shards in refused.items()
    ]
    raise ConfigError("\n".join(["inputs of committed work must not change silently:", *lines]))


def _changed_options(dataset: Dataset, provenance: Provenance) -> list[str]:
    commits = dataset.commits(provenance.column, "fingerprint", "skipped", "rows")
    is_other = pc.not_equal(commits.column("fingerprint"), provenance.fingerprint)
    has_rows = pc.less(commits.column("skipped"), commits.column("rows"))
    stale = commits.column("shard").filter(pc.and_(is_other, has_rows)).to_pylist()
    if not stale:
        return []
    first = dataset.require_manifest(provenance.column, stale[0])
    difference = "; ".join(settings_difference(first.settings, provenance.settings))
    return [
        f"  {provenance.column}: {difference} ({len(stale)} shard(s)). "
        f"Put it back, or throw that work away with --recompute {provenance.column}."
    ]


def _need(
    dataset: Dataset,
    job: ColumnJob,
    shard: int,
    made: Made | None,
    digests: Mapping[str, str],
    permissions: Permissions,
) -> Need:
    if made is None:
        return "absent"
    retry = permissions.retries.get(job.column)
    if job.provenance.is_current(made, digests):
        wants_retry = retry is not None and any(
            retry.matches(row) for row in _failed_rows(dataset, job.column, [shard])
        )
        return "retry" if wants_retry else "nothing"
    manifest = dataset.require_manifest(job.column, shard)
    plans = plan_rows(job, read_inputs(dataset, job, shard), dataset.rows(manifest), manifest.fingerprint, retry)
    return "stale" if any(plan.is_stale for plan in plans) else "refresh"


def _with_failures(dataset: Dataset, column: str) -> list[int]:
    """Return the shards with failed rows, or with sets that lost images."""
    commits = dataset.commits(column, "failed", "messages")
    return [commit["shard"] for commit in commits.to_pylist() if commit["failed"] or commit["messages"]]


def _failed_rows(dataset: Dataset, column: str, shards: Iterable[int]) -> Iterable[Row]:
    """Yield failed rows, and sets with failed images; an index is read only where its manifest knows of some."""
    for shard in shards:
        manifest = dataset.require_manifest(column, shard)
        if manifest.counts.failed or manifest.run.failures:
            yield from (row for row in dataset.rows(manifest) if failed_reasons(row))


def _made_from(job: ColumnJob) -> tuple[str, ...]:
    return job.inputs or ("plan",)


def _digests(dataset: Dataset, name: str) -> dict[int, str]:
    """Return the digest of every shard of an input: a column, or the plan."""
    found = dataset.plans() if name == "plan" else dataset.commits(name, "digest")
    return dict(zip(found.column("shard").to_pylist(), found.column("digest").to_pylist(), strict=True))


def _input_digests(dataset: Dataset, inputs: Mapping[str, Mapping[int, str]], shard: int) -> dict[str, str]:
    """Return the digest of every input of a shard; raises MissingColumn."""
    digests: dict[str, str] = {}
    for name, found in inputs.items():
        if shard in found:
            digests[name] = found[shard]
        elif name == "plan":
            digests[name] = plan_digest(dataset.store, shard)
        else:
            raise MissingColumn(name, shard)
    return digests


def _forced(jobs: Sequence[ColumnJob], wanted: Mapping[int, list[str]], permissions: Permissions) -> frozenset[str]:
    """Return columns the user wants again although nothing about them changed."""
    touched = {column for columns in wanted.values() for column in columns}
    return frozenset(job.column for job in jobs if job.column in permissions.permitted and job.column not in touched)
