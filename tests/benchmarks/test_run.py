"""Every benchmark runs, at a size that says nothing about speed.

PYTHONPATH=. python -m pytest tests/benchmarks/test_run.py
"""

import importlib
import io
import json
import math
import subprocess
import sys

import pytest
from rich.console import Console

from benchmarks.__main__ import NAMES, append
from benchmarks.table import show


@pytest.mark.parametrize("name", [name for name in NAMES if name != "network"])
def test_a_benchmark_measures_every_arm(name, tmp_path):
    benchmark = importlib.import_module(f"benchmarks.{name}")
    tables = benchmark.run(benchmark.TINY)
    sink = io.StringIO()
    for table in tables:
        assert len({row.arm for row in table.rows}) == len(table.rows)
        for row in table.rows:
            # A void arm (its output was not the input) has no values.
            assert row.values, row.arm
            assert all(math.isfinite(value) for value in row.values)
            assert (row.is_met is None) == (not row.bar)
        show(table, Console(file=sink, width=300))
        assert all(row.arm in sink.getvalue() for row in table.rows)
    append(tmp_path / "results.jsonl", name, tables)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line["arm"] for line in lines] == [row.arm for table in tables for row in table.rows]


def test_an_arm_that_loses_a_sample_is_void(monkeypatch):
    pack = importlib.import_module("benchmarks.pack")
    honest = pack.ARMS["tarfile, USTAR"]
    monkeypatch.setitem(pack.ARMS, "tarfile, USTAR", lambda samples, scratch: honest(samples[1:], scratch))
    (table,) = pack.run(pack.TINY)
    void = [row for row in table.rows if not row.values]
    assert [row.arm for row in void] == ["tarfile, USTAR (void: read-back differs)"]


def test_the_runner_names_what_there_is():
    done = subprocess.run([sys.executable, "-m", "benchmarks", "pak"], capture_output=True, text=True)
    assert done.returncode == 2
    names = "pack, overhead, stage, captioner, device, loader, feed, agreement, memory, render, audit, startup, network"
    assert f"NAME must be one of {names}, got 'pak'" in done.stderr
