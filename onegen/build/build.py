"""The main job: recipe to plan to stages to executor, and the same for `retry`.

Run it with `onegen build RECIPE OUT`. Whatever stopped a build, the same command goes on where it stopped.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

from onegen.build.assemble import make_steps
from onegen.build.jobs import Permissions
from onegen.build.pending import refuse_changed_options, unmatched_retry
from onegen.build.steps import Step, downstream, find_columns
from onegen.config.recipe import Recipe, make_source
from onegen.errors import ConfigError, Stopped
from onegen.executor.contract import Job, Pool, Retry, ShardResult, Task
from onegen.executor.local import InProcessPool, LocalPool
from onegen.executor.supervisor import Supervisor
from onegen.sample import PACKED, SELECT
from onegen.shards.canonical import canonical, sha256
from onegen.shards.dataset import CARD, Card, ColumnSummary, Dataset
from onegen.shards.manifest import Counts, Manifest
from onegen.shards.plan import make_plan
from onegen.sources import Source, passed_over
from onegen.storage.lease import lease
from onegen.storage.store import Store, explain


class Listener(Protocol):
    """Who is told how a build goes; see `onegen.cli.progress`."""

    def note(self, text: str) -> None:
        """Hear something worth a line."""
        ...

    def begin(self, step: str, shards: int, done: int) -> None:
        """Hear that a step begins: how many shards it has, and how many of them need no work."""
        ...

    def committed(self, step: str, manifest: Manifest) -> None:
        """Hear of a commit."""
        ...

    def waiting(self, step: str, workers: Mapping[int, str]) -> None:
        """Hear what each worker does, a few times a second."""
        ...

    def end(self, step: str) -> None:
        """Hear that a step is done."""
        ...


@dataclass(frozen=True)
class Options:
    """How to run a build; but for `limit`, none of it changes a byte of the output.

    `only` names stages or columns to run; `recompute` those whose committed work may be thrown away; `retry` makes
    failed rows with a matching reason be computed again, in all columns or those of `retry_stage`; `limit` cuts the
    listing when the plan is made, and is pinned with it.
    """

    executor: Literal["local", "ray"] = "local"
    address: str | None = None
    workers: int | None = None
    only: tuple[str, ...] = ()
    recompute: tuple[str, ...] = ()
    retry: Retry | None = None
    retry_stage: str | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Summary:
    """How a build ended: the dataset's digest, rows by status per column, and the columns that failed too often."""

    digest: str
    counts: Mapping[str, Counts]
    packed: Counts | None
    over_limit: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """A build before it runs: its steps in order, and what may be thrown away or tried again on the way."""

    recipe: Recipe
    options: Options
    dataset: Dataset
    source: Source
    steps: Sequence[Step]
    permissions: Permissions


def prepare(recipe: Recipe, store: Store, options: Options) -> Work:
    """Return what a recipe and options ask for; raises ConfigError for anything wrong with them."""
    source = make_source(recipe.source)
    steps = make_steps(recipe, source, store)
    _check_options(steps, store, options)
    return Work(recipe, options, Dataset(store), source, steps, _permissions(steps, options))


def check_committed(work: Work) -> None:
    """Raise ConfigError for an output that holds something else, or work that changed options would throw away."""
    _check_output(work)
    settings = {column: provenance for step in work.steps for column, provenance in step.settings.items()}
    refuse_changed_options(work.dataset, settings, work.permissions)


def build(recipe: Recipe, store: Store, options: Options, listener: Listener) -> Summary:
    """Build a dataset, or go on building it.

    Raises ConfigError (nothing committed was changed), Stopped (run the same command again) or LeaseHeld.
    """
    work = prepare(recipe, store, options)
    try:
        check_committed(work)
        with lease(store), _session(work.steps, options):
            # Again: another driver may have made the dataset since.
            check_committed(work)
            return _build(work, listener)
    except OSError as error:
        raise Stopped(explain(error, store)) from error


def _build(work: Work, listener: Listener) -> Summary:
    swept = work.dataset.sweep()
    if swept:
        listener.note(f"swept {len(swept)} file(s) that an earlier run left uncommitted")
    card = _pin_plan(work, listener)
    _announce(work, listener)
    only = {column for name in work.options.only for column in find_columns(work.steps, name)}
    for step in work.steps:
        if not only or only & {*step.columns, step.name}:
            _run_step(step, work, card.plan.shards, listener)
    return _finish(work, card)


def _announce(work: Work, listener: Listener) -> None:
    """Say what --recompute drags along, and what a retry cannot find."""
    permitted = work.permissions.permitted
    if permitted:
        after = ", ".join(downstream(work.steps, set(permitted))) or "nothing"
        listener.note(f"recompute {', '.join(sorted(permitted))}; {after} follows where its inputs change")
    unmatched = unmatched_retry(work.dataset, work.permissions)
    if unmatched:
        listener.note(unmatched)


def _permissions(steps: Sequence[Step], options: Options) -> Permissions:
    """Return what the options allow a build to throw away or try again."""
    permitted = {column for name in options.recompute for column in find_columns(steps, name)}
    follow = permitted | set(downstream(steps, permitted))
    retries: dict[str, Retry] = {}
    if options.retry is not None:
        every = {column for step in steps for column in step.columns} - {SELECT, PACKED}
        chosen = find_columns(steps, options.retry_stage) if options.retry_stage else every
        retries = dict.fromkeys(sorted(chosen), options.retry)
    return Permissions(frozenset(permitted), frozenset(follow), retries)


def _check_output(work: Work) -> None:
    """Raise ConfigError for an output that holds something else than this recipe's dataset."""
    dataset, recipe, source, options = work.dataset, work.recipe, work.source, work.options
    card = dataset.card()
    url = dataset.store.url
    if card is None:
        foreign = dataset.foreign_files()
        if foreign:
            raise ConfigError(
                f"output must be empty or an onegen dataset, got {url} with {foreign[0]!r}. Choose another OUT."
            )
        return
    pinned: dict[str, Any] = {"name": card.name, "source": card.source, "source root": card.source_root}
    asked: dict[str, Any] = {"name": recipe.name, "source": recipe.source, "source root": source.root}
    for side in (pinned, asked):
        # What only the source's own columns depend on is in their fingerprints, and may change by --recompute.
        side["source"] = {k: v for k, v in side["source"].items() if k not in source.annotation_options}
    pinned["samples_per_shard"] = card.recipe["samples_per_shard"]
    asked["samples_per_shard"] = recipe.samples_per_shard
    if options.limit is not None:
        pinned["--limit"], asked["--limit"] = card.limit, options.limit
    changed = [f"{key}: {pinned[key]!r} -> {asked[key]!r}" for key in pinned if pinned[key] != asked[key]]
    if changed:
        raise ConfigError(
            f"output must hold this recipe's dataset, and {url} holds {card.name!r}, whose plan is pinned: "
            f"{'; '.join(changed)}. Choose another OUT, or put the recipe back."
        )


def _check_options(steps: Sequence[Step], store: Store, options: Options) -> None:
    for name in (*options.only, *options.recompute, *([options.retry_stage] if options.retry_stage else [])):
        find_columns(steps, name)
    if not store.is_local and options.workers != 0:
        raise ConfigError(f"a dataset on {store.url} needs --workers 0 in this version: other processes cannot see it.")
    if options.executor == "ray" and options.workers == 0:
        raise ConfigError(
            "--workers must be at least 1 with --executor ray, got 0. Use --executor local to run in this process."
        )


def _pin_plan(work: Work, listener: Listener) -> Card:
    """Return the dataset's card; make the plan first where there is none. Writing the card pins the plan."""
    recipe, dataset, source = work.recipe, work.dataset, work.source
    card = dataset.card()
    if card is not None:
        plan, limit, columns = card.plan, card.limit, card.columns
    else:
        listener.note(f"listing {source.root}")
        plan = make_plan(dataset.store, source.listing(), recipe.samples_per_shard, work.options.limit)
        limit, columns = work.options.limit, {}
        if plan.items == 0:
            raise ConfigError(
                f"source must hold at least one image, got none in {source.root}. Check the path and file types."
            )
        listener.note(f"planned {plan.items:,} items in {plan.shards:,} shards")
        for reason, count in passed_over(source).items():
            listener.note(f"{count:,} {'file' if count == 1 else 'files'} passed over, because {reason}")
    described = recipe.model_dump(mode="json")
    card = Card(
        name=recipe.name,
        kind=recipe.kind,
        state="building",
        recipe=described,
        recipe_digest=sha256(canonical(described)),
        source=recipe.source,
        source_root=source.root,
        limit=limit,
        plan=plan,
        columns=columns,
    )
    dataset.store.write(CARD, card.to_json())
    return card


def _run_step(step: Step, work: Work, num_shards: int, listener: Listener) -> None:
    tasks = step.tasks(work.dataset, num_shards, work.permissions)
    listener.begin(step.name, num_shards, num_shards - len(tasks))

    def commit(result: ShardResult) -> None:
        for manifest in result.manifests:
            work.dataset.commit(manifest, result.pending)
            listener.committed(step.name, manifest)

    def on_workers(job: Job, tasks: Sequence[Task]) -> None:
        workers = min(len(tasks), _num_workers(step, work.options))
        tick = partial(listener.waiting, step.name)
        Supervisor(_pool(step, job, work.options), work.recipe.limits, workers, commit, tick).run(tasks)

    if tasks:
        step.run(work.dataset, tasks, commit, on_workers)
    listener.end(step.name)


def _num_workers(step: Step, options: Options) -> int:
    """Return how many workers a step gets: the command's word, else the recipe's, else one per core and GPU share."""
    asked = options.workers if options.workers is not None else step.workers
    return asked if asked is not None else len(os.sched_getaffinity(0))


def _session(steps: Sequence[Step], options: Options) -> AbstractContextManager[None]:
    """Return the context the workers live in: a Ray session, or nothing for local processes."""
    if options.executor == "local":
        return nullcontext()
    try:
        from onegen.executor.ray import ray_session
    except ModuleNotFoundError as error:
        raise ConfigError("--executor ray needs Ray. Install it with: pip install 'onegen[ray]'.") from error
    return ray_session(options.address, max(_num_workers(step, options) * step.resources.num_cpus for step in steps))


def _pool(step: Step, job: Job, options: Options) -> Pool:
    if options.workers == 0 or (options.workers is None and step.workers == 0):
        return InProcessPool(job)
    if options.executor == "ray":
        from onegen.executor.ray import RayPool

        return RayPool(job, step.resources)
    return LocalPool(job)


def _finish(work: Work, card: Card) -> Summary:
    """Fold the manifests into the card, and the card into the summary."""
    dataset, recipe = work.dataset, work.recipe
    counts = {column: dataset.counts(column) for column in dataset.columns()}
    producers = {column: next(dataset.manifests(column)).producer.label() for column in counts if counts[column].rows}
    columns = {c: ColumnSummary(counts=counts[c], producer=producers[c]) for c in producers}
    digest = dataset.digest()
    packed = dataset.counts(PACKED) if recipe.pack is not None else None
    # After `--only` some of the recipe may not be made yet: the dataset has no version until it is.
    wanted = {column for step in work.steps for column in step.columns}
    if all(len(dataset.shards(column)) == card.plan.shards for column in wanted):
        card = card.model_copy(update={"state": "complete", "digest": digest})
    dataset.store.write(CARD, card.model_copy(update={"columns": columns}).to_json())
    limit = recipe.limits.failure_rate
    over = tuple(column for column, rows in counts.items() if rows.rows and rows.failed > limit * rows.rows)
    return Summary(digest, counts, packed, over)
