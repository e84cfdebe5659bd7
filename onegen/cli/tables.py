"""What the command line prints when work is done: summaries and tables for people."""

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from itertools import groupby
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from onegen.annotators.shared.hub_backends import HubBackend
from onegen.audit.failures import Failure
from onegen.audit.query import batches
from onegen.audit.rules import RuleCount
from onegen.audit.status import DatasetStatus
from onegen.build.build import Summary
from onegen.build.doctor import Check
from onegen.build.tune import Advice, Trial
from onegen.cli.lines import command, duration, make_console, print_line
from onegen.config.recipe import Recipe
from onegen.sample import PACKED, STATUSES
from onegen.shards.manifest import Counts, where_errors_of
from onegen.shards.run import Pace
from onegen.weights.fetch import ModelStatus, State

STATE_STYLES: Mapping[State, str] = {"ready": "green", "missing": "", "damaged": "red"}


NO_DIGEST = "none: something is absent, stale or under way"


def print_summary(
    summary: Summary,
    url: str,
    recipe: Recipe,
    seconds: float,
    failures: Sequence[Failure] = (),
    rules: Sequence[RuleCount] = (),
) -> None:
    """Print how a build ended and how long it took: rows by status per column, where the shards are, what failed.

    `failures` are the first few failed rows, `rules` is what the rules of select did to sets.
    """
    console = make_console()
    table = _counts_table()
    rows = dict(summary.counts) | ({PACKED: summary.packed} if summary.packed else {})
    for column, counts in rows.items():
        table.add_row(Text(column), *_cells(counts))
    console.print(table)
    _print_rules(console, rules)
    print_line(console, f"took {duration(seconds)}")
    print_line(console, f"digest {summary.digest or NO_DIGEST}")
    if summary.packed is not None:
        print_line(console, f"shards {url}/{PACKED}/*.tar")
    failed = sum(counts.failed for column, counts in rows.items() if column != PACKED)
    if failed:
        retry = f"mend the cause, then {command('retry', url)}"
        _print_failed(console, failed, failures, f"{command('failures', url)} lists them; {retry}")
    for column in summary.over_limit:
        rate, allowed = rows[column].failed / rows[column].rows, recipe.limits.failure_rate
        print_line(
            console,
            Text(f"{column}: {rate:.1%} of rows failed, limits.failure_rate allows {allowed:.1%}", style="red"),
        )


def print_status(status: DatasetStatus, url: str) -> None:
    """Print what a dataset holds, what failed most, who builds it, and what its workers did when last heard."""
    console = make_console()
    card = status.card
    size = f"{card.plan.items:,} items in {card.plan.shards:,} shards from {card.source_root}"
    print_line(console, Text.assemble((card.name, "bold"), f"  {size}"))
    if card.limit is not None:
        print_line(console, f"planned with --limit {card.limit:,}: the source may hold more")
    for line in card.plan.omissions():
        print_line(console, line)
    table = _counts_table("shards", after=("rows/s", "busy", "memory", "made by", "why failed"))
    for column in status.columns:
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in column.reasons)
        shards = f"{column.shards:,}/{card.plan.shards:,}"
        pace = _pace_cells(column.pace)
        table.add_row(Text(column.name), shards, *_cells(column.counts), *pace, Text(column.producer), Text(reasons))
    console.print(table)
    _print_rules(console, status.rules)
    print_line(console, "rows/s and memory are of one worker; busy is its annotator's part of the time")
    for column in status.columns:
        if trouble := column.pace.trouble(column.name):
            print_line(console, trouble)
    for column in status.columns:
        if column.where_errors:
            print_line(console, where_errors_of(column.name, column.where_errors))
    failed = sum(column.counts.failed for column in status.columns if column.name != PACKED)
    if failed:
        _print_failed(console, failed, status.failures, f"{command('failures', url)} lists them with their messages")
    print_line(console, f"digest {status.digest or NO_DIGEST}")
    if status.takedowns:
        held = "purged" if card.purged == status.takedowns.digest else f"{command('purge', url)} removes what is stored"
        print_line(console, f"takedowns {status.takedowns.digest}: {len(status.takedowns):,} entries; {held}")
    if status.driver:
        print_line(console, f"being built by {status.driver}")
    elif card.state == "building":
        print_line(console, "no driver at work: the last build did not finish. Run `onegen build` again to go on.")
    if status.last and card.state == "building":
        print_line(console, f"last heard: {status.last.get('event')} {status.last.get('step', '')}".rstrip())
        for number, doing in status.last.get("workers", {}).items():
            print_line(console, f"  worker {number}: {doing}")


def print_failures(failures: Iterable[Failure], as_csv: bool) -> None:
    """Print failed rows as they come, a line each, or as CSV with a header."""
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([field.name for field in fields(Failure)])
        writer.writerows(astuple(failure) for failure in failures)
        return
    console = make_console()
    number = 0
    for failure in failures:
        number += 1
        print_line(console, _told(failure))
    print_line(console, f"{number:,} failed row(s)")


def _print_rules(console: Console, rules: Sequence[RuleCount]) -> None:
    """Print how many images and sets each rule of select left."""
    for one in rules:
        images = f"{one.images_before:,} -> {one.images_after:,} images"
        print_line(console, f"select {one.rule}: {images}, {one.sets_before:,} -> {one.sets_after:,} samples")


def _print_failed(console: Console, failed: int, examples: Sequence[Failure], ways: str) -> None:
    """Print how many rows failed, the first of them, and what to do."""
    print_line(console, f"{failed:,} failed row(s): {ways}")
    for failure in examples:
        print_line(console, f"  {_told(failure)}")
    if 0 < len(examples) < failed:
        print_line(console, f"  and {failed - len(examples):,} more")


def _told(failure: Failure) -> str:
    """Return a failure as a line; further lines of its message are indented."""
    tried = "once" if failure.attempts == 1 else f"{failure.attempts} times"
    message = failure.message.replace("\n", "\n  ") or "no message was kept"
    name = f"{failure.item} ({failure.key or 'no key'})"
    return f"{name}: {failure.column} failed with {failure.reason}, tried {tried}: {message}"


def print_models(rows: Sequence[ModelStatus], folder: Path) -> None:
    """Print the weights by package: what uses them, whether they are ready, their licences and hashes."""
    console = make_console()
    wide = max(len(row.file) for row in rows)
    for (package, version), files in groupby(rows, lambda row: (row.package, row.version)):
        for index, row in enumerate(files):
            if index == 0:
                optional = ", optional" if row.optional else ""
                users = f" for {', '.join(row.used_by)}{optional}"
                print_line(console, Text.assemble((f"{package} {version}", "bold"), users))
            state = (f"{row.state:7}", STATE_STYLES[row.state])
            facts = f"  {row.file:{wide}}  {row.licence:12}  sha256 {row.sha256}"
            print_line(console, Text.assemble("  ", state, facts))
    print_line(console, f"in {folder}; bring what is missing with `onegen models fetch`")


def print_hub_backends(rows: Iterable[HubBackend]) -> None:
    """Print the backends whose weights come from a hub, each with its size, licence, what that asks, and its extra."""
    console = make_console()
    print_line(console, "\nbackends with weights of the hub, by column; any other repository may be named as model")
    for row in rows:
        state = ("ready  ", "green") if row.is_here else ("on hub ", "yellow")
        known = row.published
        facts = [row.model]
        if known is not None:
            facts += [f"{known.megabytes / 1000:,.1f} GB", known.licence, "gated" if known.is_gated else "", known.note]
        facts.append(f"extra {row.extra}")
        told = ", ".join(fact for fact in facts if fact)
        name = f"{row.column}: {row.backend}"
        print_line(console, Text.assemble("  ", state, (f"{name:28}", "bold"), f" {told}"))
    print_line(console, "fetch them with `onegen models fetch RECIPE`, or let the build do it")


def print_check(check: Check) -> None:
    """Print what the doctor found of one thing."""
    state = ("ok      ", "green") if check.is_well else ("missing ", "red")
    print_line(make_console(), Text.assemble(state, (f"{check.subject}: ", "bold"), check.found))


def print_advice(advice: Sequence[Advice]) -> None:
    """Print what each step costs and what to give it, and the lines of a recipe that do."""
    console = make_console()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("step", overflow="fold")
    for name in ("batch", "cores", "rows/s", "busy", "memory", "GPU share", "workers here", "hours here", "GPU-hours"):
        table.add_column(name, justify="right")
    for step in advice:
        for trial in step.trials:
            table.add_row(*_trial_cells(step, trial), style=None if trial == step.best else "dim")
    console.print(table)
    print_line(console, "rows/s, busy and memory are of one worker; dim lines were tried and are not proposed")
    gpus, cores, hours = (sum(getattr(step, name) for step in advice) for name in ("gpu_hours", "core_hours", "hours"))
    told = f"{gpus:,.2f} GPU-hours, " if gpus else ""
    rows = max((step.rows for step in advice), default=0)
    print_line(console, f"for all {rows:,} items: {told}{cores:,.2f} core-hours; {hours:,.2f} hours on this machine")
    print_line(console, "in the recipe:")
    for step in advice:
        if step.best.setting.batch_size:
            share = f", num_gpus: {step.num_gpus:.3g}" if step.num_gpus else ""
            size, threads = step.best.setting.batch_size, step.best.setting.num_cpus
            print_line(console, f"  - {{name: {step.step}, batch_size: {size}, num_cpus: {threads:g}{share}, ...}}")


def _trial_cells(step: Advice, trial: Trial) -> list[str]:
    """Return the cells of a trial; what is proposed has the costs too."""
    size, busy = trial.setting.batch_size or "", f"{trial.busy_share:.0%}" if trial.busy_share else ""
    gpu = f" + {trial.peak_gpu / 1e9:.1f} GPU" if trial.peak_gpu else ""
    halved = " (too much)" if trial.is_halved else ""
    memory = f"{trial.peak_rss / 1e9:.1f}{gpu} GB{halved}"
    cells = [step.step, f"{size}", f"{trial.setting.num_cpus:g}", f"{trial.rate:,.1f}", busy, memory]
    if trial != step.best:
        return [*cells, "", "", "", ""]
    share = f"{step.num_gpus:.3g}" if step.num_gpus else ""
    hours = f"{step.gpu_hours:,.2f}" if step.num_gpus else ""
    return [*cells, share, f"{step.workers:,}", f"{step.hours:,.2f}", hours]


def _counts_table(*before: str, after: Sequence[str] = ()) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("column", overflow="fold")
    for name in (*before, "rows", *STATUSES):
        table.add_column(name, justify="right")
    for name in after:
        table.add_column(name, overflow="fold")
    return table


def _pace_cells(pace: Pace) -> tuple[str, str, str]:
    """Return rows a second, the busy share and the memory of one worker; blanks where nothing was computed."""
    if not pace.seconds:
        return "", "", ""
    busy = f"{pace.busy_share:.0%}" if pace.busy_seconds else ""
    return f"{pace.computed / pace.seconds:,.1f}", busy, pace.memory()


def _cells(counts: Counts) -> list[Text]:
    cells = [Text(f"{getattr(counts, name):,}") for name in ("rows", *STATUSES)]
    if counts.failed:
        cells[-1].stylize("red")
    return cells


def print_answer(answer: pa.RecordBatchReader, limit: int) -> None:
    """Print the first `limit` rows of an answer as a table, and say where more are left out."""
    table = Table(box=None, header_style="bold")
    for name in answer.schema.names:
        table.add_column(Text(name), overflow="fold")
    shown, is_cut = 0, False
    for batch in batches(answer):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            is_cut = shown == limit
            if is_cut:
                break
            table.add_row(*(Text("" if value is None else str(value)) for value in row))
            shown += 1
        if is_cut:
            break
    console = make_console()
    console.print(table)
    print_line(console, f"the first {limit} rows; --out FILE.csv writes all" if is_cut else f"{shown} rows")
