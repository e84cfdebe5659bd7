"""The one way to make a shard: which rows are copied, computed or skipped. docs/contract.md, rules 5, 7 and 9.

Worker and driver ask the same question here: the worker to do it, the driver to find out whether it may.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from onegen.build.jobs import ColumnJob
from onegen.executor.contract import Retry
from onegen.sample import IMAGE
from onegen.shards.canonical import canonical
from onegen.shards.dataset import Dataset
from onegen.shards.index import Row
from onegen.shards.plan import PlannedItem, plan_digest, read_plan
from onegen.shards.where import Answers, evaluate_rows


@dataclass(frozen=True, slots=True)
class RowPlan:
    """What happens to one row.

    `is_stale` says that committed work would be thrown away because inputs or options changed, `is_where_error` that
    the column's `where` was in error over the row.
    """

    action: Literal["copy", "compute", "skip"]
    key: str | None
    input_digest: str
    reason: str | None = None
    old: Row | None = None
    is_stale: bool = False
    is_where_error: bool = False


@dataclass(frozen=True)
class Inputs:
    """What a column shard is made from: the plan, the rows of each input column, and the digest of each."""

    plan: Sequence[PlannedItem]
    rows: Mapping[str, Sequence[Row]]
    digests: Mapping[str, str]


def read_inputs(dataset: Dataset, job: ColumnJob, shard: int) -> Inputs:
    """Read a shard's plan and input columns; raises ConfigError where one is not committed."""
    plan = read_plan(dataset.store, shard)
    rows: dict[str, list[Row]] = {}
    digests: dict[str, str] = {}
    for column in job.inputs:
        manifest = dataset.require_manifest(column, shard)
        rows[column] = dataset.rows(manifest)
        digests[column] = manifest.digest
    if not job.gates:
        digests["plan"] = plan_digest(dataset.store, shard)
    return Inputs(plan, rows, digests)


def plan_rows(
    job: ColumnJob,
    inputs: Inputs,
    old: Sequence[Row] | None,
    old_fingerprint: str | None,
    retry: Retry | None = None,
    force: bool = False,
) -> list[RowPlan]:
    """Return what happens to each row of a shard; `old` are the rows of its committed predecessor, if there is one."""
    answers = _where(job, inputs)
    same_options = old_fingerprint == job.provenance.fingerprint
    plans: list[RowPlan] = []
    for position, item in enumerate(inputs.plan):
        answer = answers.holds[position] if answers else None
        gates = [inputs.rows[gate][position] for gate in job.gates]
        input_digest = _row_digest(job.gates, gates, answer) if job.gates else item.digest()
        key = gates[0].key if gates else None
        blocked = _blocked(job.gates, gates, answer)
        before = old[position] if old else None
        plan = _decide(before, key, input_digest, blocked, same_options, retry, force)
        plans.append(replace(plan, is_where_error=True) if answers and position in answers.errors else plan)
    return plans


def _decide(
    old: Row | None,
    key: str | None,
    input_digest: str,
    blocked: str | None,
    same_options: bool,
    retry: Retry | None,
    force: bool,
) -> RowPlan:
    was_made = old is not None and old.status != "skipped"
    if blocked:
        # A gate that closed is news from upstream; a `where` that now says no is a changed setting.
        return RowPlan("skip", key, input_digest, blocked, is_stale=was_made and blocked == "where")
    if old is None or not was_made:
        return RowPlan("compute", key, input_digest)
    is_same = same_options and old.input_digest == input_digest
    if is_same and not force and not (retry and retry.matches(old)):
        return RowPlan("copy", old.key, input_digest, old=old)
    return RowPlan("compute", key, input_digest, old=old, is_stale=not is_same)


def _where(job: ColumnJob, inputs: Inputs) -> Answers | None:
    where = job.provenance.where
    gates = [inputs.rows[gate] for gate in job.gates if gate != IMAGE]
    return None if where is None else evaluate_rows(where, inputs.rows, job.where_scope, gates)


def _blocked(names: Sequence[str], gates: Sequence[Row], answer: bool | None) -> str | None:
    for name, row in zip(names, gates, strict=True):
        if row.status != "ok":
            return f"{name}:{row.status}"
    return "where" if answer is False else None


def _row_digest(names: Sequence[str], gates: Sequence[Row], answer: bool | None) -> str:
    made_from = [
        [name, row.status, [[part.name, part.sha256] for part in row.parts], dict(row.values)]
        for name, row in zip(names, gates, strict=True)
    ]
    # No `where` is a `where` that is true: adding one that lets a computed row pass changes nothing for it.
    return hashlib.sha256(canonical([made_from, answer is not False])).hexdigest()
