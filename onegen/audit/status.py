"""What a dataset holds and how its build goes, read from storage alone: it works after the driver died."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from onegen.audit.failures import Failure, failed_rows, first_failures
from onegen.audit.rules import RuleCount, rule_counts
from onegen.sample import IMAGE, PACKED, SELECT
from onegen.shards.catalog import COMMITS, PACE
from onegen.shards.dataset import Card, Dataset, counts_of
from onegen.shards.manifest import Counts
from onegen.shards.run import Pace
from onegen.shards.takedowns import Takedowns, read_takedowns
from onegen.storage.lease import holder

REASONS_SHOWN = 3
LOG_TAIL = 1 << 16
"""Bytes at the end of a log in which its last whole line is looked for."""


@dataclass(frozen=True)
class ColumnStatus:
    """A column as committed: shards done of those planned, rows by status, and its most frequent failure reasons.

    `where_errors` counts the rows over which its `where`, or a rule of `select`, was in error; `pace` is of the runs
    that made what is committed.
    """

    name: str
    shards: int
    counts: Counts
    reasons: tuple[tuple[str, int], ...]
    producer: str
    where_errors: int = 0
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True)
class DatasetStatus:
    """A dataset as committed: card, columns and packed view, digest, who builds it now, the last log line.

    `failures` are the first few failed rows; `rules` is what the rules of select did to sets.
    `takedowns` is what was taken down, whether it was purged or not.
    """

    card: Card
    columns: tuple[ColumnStatus, ...]
    digest: str | None
    driver: str | None
    last: dict[str, Any] | None
    failures: tuple[Failure, ...] = ()
    rules: tuple[RuleCount, ...] = ()
    takedowns: Takedowns = field(default_factory=Takedowns)


def read_status(dataset: Dataset) -> DatasetStatus:
    """Return the status of a dataset; raises ConfigError where there is none."""
    card = dataset.require_card()
    names = [*(name for name in (IMAGE, SELECT) if name in dataset.columns()), *dataset.columns(), PACKED]
    columns = tuple(_column(dataset, name) for name in dict.fromkeys(names) if dataset.shards(name))
    driver, last = holder(dataset.store), _last_line(dataset)
    takedowns = read_takedowns(dataset.store)
    failures, rules = first_failures(dataset), rule_counts(dataset)
    return DatasetStatus(card, columns, card.digest, driver, last, failures, rules, takedowns)


def _column(dataset: Dataset, name: str) -> ColumnStatus:
    commits = dataset.commits(name, *COMMITS.names)
    pace, reasons = Pace(), _reasons(dataset, name, commits)
    for run in commits.select([*PACE]).to_pylist():
        pace.add(run)
    most = sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))[:REASONS_SHOWN]
    producer = commits.column("producer")[-1].as_py() if commits.num_rows else ""
    where_errors = sum(commits.column("where_errors").to_pylist())
    return ColumnStatus(name, commits.num_rows, counts_of(commits), tuple(most), producer, where_errors, pace)


def _reasons(dataset: Dataset, name: str, commits: pa.Table) -> Counter[str]:
    """Return why rows of a column failed, and how many."""
    reasons: Counter[str] = Counter()
    for commit in commits.select(["shard", "failed", "reasons"]).to_pylist() if name != PACKED else ():
        if commit["reasons"] is None:
            # The index cannot be read: to read it again says why.
            failed_rows(dataset, dataset.require_manifest(name, commit["shard"]))
        reasons.update({entry["reason"]: entry["count"] for entry in commit["reasons"] or ()})
    return reasons


def _last_line(dataset: Dataset) -> dict[str, Any] | None:
    logs = dataset.store.names("log")
    if not logs:
        return None
    name = f"log/{logs[-1]}"
    size = dataset.store.size(name)
    # A build of many shards says much; only its end is asked for.
    tail = dataset.store.read_range(name, max(0, size - LOG_TAIL), size)
    for line in reversed(tail.decode(errors="replace").strip().splitlines()):
        try:
            return dict(json.loads(line))
        except ValueError:
            # The last line may be half written when the driver was killed.
            continue
    return None
