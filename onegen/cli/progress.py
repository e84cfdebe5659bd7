"""How a build shows itself: a live table on a terminal, plain lines elsewhere, JSON lines in the dataset always.

`onegen status DATASET` reads the JSON lines and the manifests, so it works while a build runs and after it died.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from rich.table import Table
from rich.text import Text

from onegen.cli.lines import duration, print_line
from onegen.cli.live import LiveTable
from onegen.sample import STATUSES
from onegen.shards.manifest import Manifest
from onegen.shards.run import Pace
from onegen.storage.store import Store

PLAIN_SECONDS = 5.0
LOG_SECONDS = 10.0


@dataclass
class StepProgress:
    """One step of a build as seen so far: shards, rows by status of each column committed in this run, its start."""

    name: str
    shards: int
    done: int
    began: float
    ended: float | None = None
    committed: set[int] = field(default_factory=set)
    rows: int = 0
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    paces: dict[str, Pace] = field(default_factory=dict)
    doing: tuple[str, ...] = ()

    @property
    def shards_done(self) -> int:
        """Shards that need no more work."""
        return self.done + len(self.committed)

    @property
    def rate(self) -> float:
        """Rows committed per second in this run; 0 before the first commit."""
        seconds = (self.ended or time.monotonic()) - self.began
        return self.rows / seconds if seconds > 0 else 0.0

    @property
    def eta_seconds(self) -> float | None:
        """Seconds left at the rate of this run; None before the first commit."""
        if not self.committed or self.ended is not None:
            return None
        per_shard = (time.monotonic() - self.began) / len(self.committed)
        return per_shard * (self.shards - self.shards_done)


class Progress(LiveTable):
    """The listener of a build on a console. Use as a context manager; the live table closes with it."""

    def __init__(self, store: Store, output: TextIO | None = None) -> None:
        super().__init__(output)
        self._store = store
        self._planned: Sequence[str] = ()
        self._planned_shards = 0
        self._log = f"log/{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}.jsonl"
        self._steps: dict[str, StepProgress] = {}
        self._last_plain = self._last_log = 0.0

    def note(self, text: str) -> None:
        """Print a line and log it."""
        print_line(self._console, text)
        self._write("note", text=text)

    @property
    def seconds(self) -> float:
        """Seconds since the build began."""
        return time.monotonic() - self._began

    def plan(self, steps: Sequence[str], shards: int) -> None:
        """Know how much there is to do, for the line below the table."""
        self._planned, self._planned_shards = steps, shards * len(steps)

    def begin(self, step: str, shards: int, done: int) -> None:
        """Add a row to the table."""
        self._steps[step] = StepProgress(step, shards, done, time.monotonic())
        self._write("begin", step=step, shards=shards, done=done)

    def committed(self, step: str, manifest: Manifest) -> None:
        """Count a commit; a stage of several columns counts each shard's rows once."""
        progress = self._steps[step]
        if manifest.shard not in progress.committed:
            progress.committed.add(manifest.shard)
            progress.rows += manifest.counts.rows
        counts = progress.counts.setdefault(manifest.column, dict.fromkeys(STATUSES, 0))
        for status in STATUSES:
            counts[status] += getattr(manifest.counts, status)
        progress.paces.setdefault(manifest.column, Pace()).add(manifest.run)
        self._write(
            "committed", step=step, column=manifest.column, shard=manifest.shard, **manifest.counts.model_dump()
        )
        self._plain(progress)

    def waiting(self, step: str, workers: Mapping[int, str]) -> None:
        """Log what each worker does every few seconds."""
        self._steps[step].doing = tuple(workers.values())
        if time.monotonic() - self._last_log >= LOG_SECONDS:
            self._last_log = time.monotonic()
            self._write("waiting", step=step, workers={str(number): doing for number, doing in workers.items()})
        self._plain(self._steps[step])

    def end(self, step: str) -> None:
        """Close the step's row."""
        progress = self._steps[step]
        progress.ended, progress.doing = time.monotonic(), ()
        seconds = progress.ended - progress.began
        self._write("end", step=step, seconds=round(seconds, 3), rows=progress.rows, counts=progress.counts)
        self._last_plain = 0.0
        self._plain(progress)

    def _plain(self, progress: StepProgress) -> None:
        if self._live is not None or time.monotonic() - self._last_plain < PLAIN_SECONDS:
            return
        self._last_plain = time.monotonic()
        facts = [f"{progress.name}: {progress.shards_done:,}/{progress.shards:,} shards"]
        if progress.rows:
            facts.append(f"{progress.rate:,.1f} rows/s")
        for column, counts in progress.counts.items():
            totals = " ".join(f"{status} {number:,}" for status, number in counts.items() if number)
            facts.append(totals if column == progress.name else f"{column} {totals}")
        if progress.eta_seconds is not None:
            facts.append(f"{duration(progress.eta_seconds)} left")
        elif progress.doing:
            facts.append(progress.doing[0])
        print_line(self._console, ", ".join(facts))

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("stage")
        for name in ("shards", "rows/s", "busy", "memory", *STATUSES, "left"):
            table.add_column(name, justify="right")
        table.add_column("now", overflow="ellipsis", no_wrap=True)
        for step in self._steps.values():
            rate = f"{step.rate:,.1f}" if step.rows else ("as it was" if step.ended else "")
            eta = step.eta_seconds
            left = "done" if step.ended else "" if eta is None else duration(eta)
            shards = f"{step.shards_done:,}/{step.shards:,}"
            columns = step.counts or {step.name: {}}
            for index, (column, counts) in enumerate(columns.items()):
                name = step.name if len(columns) == 1 else f"{step.name}.{column}"
                cells = [Text(f"{counts[status]:,}" if counts.get(status) else "") for status in STATUSES]
                cells[-1].stylize("red")
                now = step.doing[index] if index < len(step.doing) else ""
                pace = step.paces.get(column, Pace())
                busy = f"{pace.busy_share:.0%}" if pace.busy_seconds else ""
                memory = pace.memory() if pace.computed else ""
                table.add_row(Text(name), shards, rate, busy, memory, *cells, left, Text(now))
        table.caption, table.caption_justify = Text(self._overall(), style="dim"), "left"
        return table

    def _overall(self) -> str:
        """Return how far the whole build is: time gone by, steps begun, and shards done over all steps."""
        facts = [f"{duration(self.seconds)} elapsed"]
        if self._planned_shards:
            done = sum(step.shards_done for step in self._steps.values())
            facts.append(f"stage {len(self._steps)} of {len(self._planned)}")
            facts.append(f"{min(1, done / self._planned_shards):.0%} of all shards of all stages done")
        return ", ".join(facts)

    def _write(self, event: str, **facts: Any) -> None:
        line = {"time": round(time.time(), 3), "event": event, **facts}
        self._store.append(self._log, json.dumps(line) + "\n")
