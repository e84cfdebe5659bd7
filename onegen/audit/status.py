"""What a dataset holds and how its build goes, read from storage alone: it works after the driver died."""

import json
from dataclasses import dataclass, field
from typing import Any

from onegen.audit.failures import Failure, failed_rows, first_failures
from onegen.audit.rules import RuleCount, rule_counts
from onegen.sample import IMAGE, PACKED, SELECT
from onegen.shards.dataset import Card, Dataset
from onegen.shards.manifest import Counts
from onegen.shards.run import Pace
from onegen.shards.takedowns import Takedowns, read_takedowns
from onegen.storage.lease import holder

REASONS_SHOWN = 3


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
    shards = where_errors = 0
    reasons: dict[str, int] = {}
    producer, pace = "", Pace()
    for manifest in dataset.manifests(name):
        shards += 1
        producer = manifest.producer.label()
        where_errors += manifest.run.where_errors
        pace.add(manifest.run)
        for row in failed_rows(dataset, manifest) if name != PACKED else ():
            reason = row.reason or "unknown"
            reasons[reason] = reasons.get(reason, 0) + 1
    most = sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))[:REASONS_SHOWN]
    return ColumnStatus(name, shards, dataset.counts(name), tuple(most), producer, where_errors, pace)


def _last_line(dataset: Dataset) -> dict[str, Any] | None:
    logs = dataset.store.names("log")
    if not logs:
        return None
    lines = dataset.store.read(f"log/{logs[-1]}").decode(errors="replace").strip().splitlines()
    for line in reversed(lines):
        try:
            return dict(json.loads(line))
        except ValueError:
            # The last line may be half written when the driver was killed.
            continue
    return None
