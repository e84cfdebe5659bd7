"""Which rows of a shard are copied, computed or skipped. PYTHONPATH=. python -m pytest tests/build/test_refresh.py"""

from collections.abc import Sequence

import pyarrow as pa
import pytest

from onegen.build.jobs import ColumnJob
from onegen.build.refresh import Inputs, RowPlan, plan_rows
from onegen.executor.contract import Retry
from onegen.shards.index import Row
from onegen.shards.manifest import Producer, Provenance
from onegen.shards.plan import PlannedFile, PlannedItem
from onegen.shards.tar import Member
from tests.plugins.plain import Plain

SETTINGS = {"name": "hed", "version": 1}
SCOPE = {"image": {"width": pa.int32()}}
WIDE = "image.width > 10"


def job(where: str | None = None, settings: dict[str, object] = SETTINGS) -> ColumnJob:
    provenance = Provenance("hed", "image", settings, Producer(name="hed", version=1), where)
    return ColumnJob(Plain(), provenance, ("image", "select"), where_scope=SCOPE if where else {})


def inputs(width: int = 20, select: str = "ok", sha256: str = "a" * 64) -> Inputs:
    """Return the inputs of a shard of one row."""
    item = PlannedItem(0, "0.jpg", (PlannedFile("0.jpg", 1, "1"),), ())
    image = Row(0, "k", "ok", None, (Member("jpg", 0, 1, sha256),), "", {"width": width})
    verdict = Row(0, "k", select, None if select == "ok" else "duplicate")  # type: ignore[arg-type]
    return Inputs([item], {"image": [image], "select": [verdict]}, {})


def plan(
    new: Inputs,
    old: Sequence[Row] | None = None,
    *,
    where: str | None = None,
    same_options: bool = True,
    retry: Retry | None = None,
    force: bool = False,
) -> RowPlan:
    fingerprint = job().provenance.fingerprint if same_options else "another"
    (row,) = plan_rows(job(where), new, old, fingerprint if old else None, retry, force)
    return row


def committed(status: str = "ok", reason: str | None = None, made_from: Inputs | None = None) -> list[Row]:
    """Return the committed predecessor of the row, made from these inputs."""
    digest = plan(made_from or inputs()).input_digest
    return [Row(0, "k", status, reason, (), digest)]  # type: ignore[arg-type]


def test_a_row_that_was_never_made_is_computed_and_nothing_is_stale():
    assert (plan(inputs()).action, plan(inputs()).is_stale) == ("compute", False)
    skipped = committed("skipped", "select:filtered")
    assert (plan(inputs(), skipped).action, plan(inputs(), skipped).is_stale) == ("compute", False)


@pytest.mark.parametrize("status", ["ok", "filtered", "failed"])
def test_a_row_made_from_the_same_by_the_same_is_copied(status):
    row = plan(inputs(), committed(status))
    assert (row.action, row.is_stale) == ("copy", False)


@pytest.mark.parametrize("change", [{"width": 21}, {"sha256": "b" * 64}])
def test_another_input_makes_it_stale(change):
    row = plan(inputs(**change), committed())
    assert (row.action, row.is_stale) == ("compute", True)


def test_other_options_make_it_stale():
    row = plan(inputs(), committed(), same_options=False)
    assert (row.action, row.is_stale) == ("compute", True)


@pytest.mark.parametrize(
    ("pattern", "status", "action"),
    [("crash", "failed", "compute"), ("*", "failed", "compute"), ("dead*", "failed", "copy"), ("*", "ok", "copy")],
)
def test_a_retry_computes_matching_failures_and_throws_nothing_away(pattern, status, action):
    row = plan(inputs(), committed(status, "crash"), retry=Retry(pattern))
    assert (row.action, row.is_stale) == (action, False)


def test_force_computes_what_nothing_changed_about():
    row = plan(inputs(), committed(), force=True)
    assert (row.action, row.is_stale) == ("compute", False)


def test_a_gate_that_closed_skips_the_row_without_being_stale():
    row = plan(inputs(select="filtered"), committed())
    assert (row.action, row.reason, row.is_stale) == ("skip", "select:filtered", False)


def test_a_where_that_now_says_no_is_stale_only_where_something_was_made():
    row = plan(inputs(width=5), committed(made_from=inputs(width=5)), where=WIDE)
    assert (row.action, row.reason, row.is_stale) == ("skip", "where", True)
    assert plan(inputs(width=5), where=WIDE).is_stale is False
    assert plan(inputs(width=5), committed("skipped", "where"), where=WIDE).is_stale is False


def test_a_where_that_is_true_changes_nothing_for_a_row():
    assert plan(inputs(), committed(), where=WIDE).action == "copy"


def test_the_key_is_that_of_the_image():
    assert plan(inputs()).key == "k"
