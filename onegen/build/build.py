"""The main job: recipe to plan to stages to executor, and the same for `retry`.

Run it with `onegen build RECIPE OUT`. Whatever stopped a build, the same command goes on where it stopped.
"""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from onegen.build.jobs import Made, Retry, StageJob
from onegen.build.pending import Leave, pack_tasks, refuse_changed_options, stage_tasks
from onegen.build.select import SelectJob, is_current, run_select
from onegen.build.steps import PACK, Step, downstream, find_columns, make_steps
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError, Stopped
from onegen.executor.local import InProcessPool, LocalPool
from onegen.executor.supervisor import Pool, Supervisor
from onegen.executor.worker import Job
from onegen.sample import PACKED, SELECT
from onegen.shards.canonical import canonical, sha256
from onegen.shards.dataset import CARD, Card, ColumnSummary, Dataset
from onegen.shards.manifest import Counts, Manifest
from onegen.shards.plan import make_plan
from onegen.sources import Source
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


def build(recipe: Recipe, store: Store, options: Options, listener: Listener) -> Summary:
    """Build a dataset, or go on building it.

    Raises ConfigError (nothing committed was changed), Stopped (run the same command again) or LeaseHeld.
    """
    steps = make_steps(recipe, store)
    _check_options(steps, store, options)
    dataset = Dataset(store)
    try:
        check_output(dataset, recipe, _source(steps), options)
        with lease(store), _session(steps, options):
            # Again: another driver may have made the dataset since.
            check_output(dataset, recipe, _source(steps), options)
            return _build(recipe, dataset, steps, options, listener)
    except OSError as error:
        raise Stopped(explain(error, store)) from error


def _build(recipe: Recipe, dataset: Dataset, steps: list[Step], options: Options, listener: Listener) -> Summary:
    swept = dataset.sweep()
    if swept:
        listener.note(f"swept {len(swept)} file(s) that an earlier run left uncommitted")
    leave = leave_of(steps, options)
    refuse_changed_options(dataset, steps, leave)
    card = _pin_plan(recipe, dataset, _source(steps), options, listener)
    if leave.follow:
        after = ", ".join(c for c in downstream(steps, set(leave.permitted))) or "nothing"
        listener.note(f"recompute {', '.join(sorted(leave.permitted))}; {after} follows where its inputs change")
    only = {column for name in options.only for column in find_columns(steps, name)}
    for step in steps:
        if not only or only & {*step.columns, step.name}:
            _run_step(step, recipe, dataset, card.plan.shards, options, leave, listener)
    return _finish(recipe, dataset, card, steps)


def leave_of(steps: list[Step], options: Options) -> Leave:
    """Return what the options allow a build to throw away or try again."""
    permitted = {column for name in options.recompute for column in find_columns(steps, name)}
    follow = permitted | set(downstream(steps, permitted))
    retries: dict[str, Retry] = {}
    if options.retry is not None:
        every = {column for step in steps for column in step.columns} - {SELECT}
        chosen = find_columns(steps, options.retry_stage) if options.retry_stage else every
        retries = dict.fromkeys(chosen, options.retry)
    return Leave(frozenset(permitted), frozenset(follow), retries)


def check_output(dataset: Dataset, recipe: Recipe, source: Source, options: Options) -> None:
    """Raise ConfigError for an output that holds something else than this recipe's dataset."""
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


def _check_options(steps: list[Step], store: Store, options: Options) -> None:
    for name in (*options.only, *options.recompute, *([options.retry_stage] if options.retry_stage else [])):
        find_columns(steps, name)
    if not store.is_local and options.workers != 0:
        raise ConfigError(f"a dataset on {store.url} needs --workers 0 in this version: other processes cannot see it.")
    if options.executor == "ray" and options.workers == 0:
        raise ConfigError(
            "--workers must be at least 1 with --executor ray, got 0. Use --executor local to run in this process."
        )


def _source(steps: list[Step]) -> Source:
    job = steps[0].job
    assert isinstance(job, StageJob)
    assert job.source is not None
    return job.source


def _pin_plan(recipe: Recipe, dataset: Dataset, source: Source, options: Options, listener: Listener) -> Card:
    """Return the dataset's card; make the plan first where there is none. Writing the card pins the plan."""
    card = dataset.card()
    if card is not None:
        plan, limit, columns = card.plan, card.limit, card.columns
    else:
        listener.note(f"listing {source.root}")
        plan = make_plan(dataset.store, source.listing(), recipe.samples_per_shard, options.limit)
        limit, columns = options.limit, {}
        if plan.items == 0:
            raise ConfigError(
                f"source must hold at least one image, got none in {source.root}. Check the path and file types."
            )
        listener.note(f"planned {plan.items:,} items in {plan.shards:,} shards")
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


def _run_step(
    step: Step, recipe: Recipe, dataset: Dataset, num_shards: int, options: Options, leave: Leave, listener: Listener
) -> None:
    if isinstance(step.job, SelectJob):
        _run_select(step.job, dataset, num_shards, leave, listener)
        return
    if isinstance(step.job, StageJob):
        tasks = stage_tasks(step.job, dataset, num_shards, leave)
    else:
        tasks = pack_tasks(step.job, dataset, num_shards, force=PACK in leave.permitted)
    listener.begin(step.name, num_shards, num_shards - len(tasks))

    def commit(made: Made) -> None:
        for manifest in made.manifests:
            if manifest.column == PACKED:
                dataset.commit_packed(manifest, dict(made.pending))
            else:
                dataset.commit(manifest)
            listener.committed(step.name, manifest)

    if tasks:
        workers = min(len(tasks), _num_workers(step, options))
        pool = _pool(step, step.job, options)
        Supervisor(pool, recipe.limits, workers, commit, lambda doing: listener.waiting(step.name, doing)).run(tasks)
    listener.end(step.name)


def _run_select(job: SelectJob, dataset: Dataset, num_shards: int, leave: Leave, listener: Listener) -> None:
    if is_current(dataset, job, num_shards) and SELECT not in leave.permitted:
        listener.begin(SELECT, num_shards, num_shards)
    else:
        listener.begin(SELECT, num_shards, 0)
        for manifest in run_select(dataset, job, num_shards, force=SELECT in leave.permitted):
            dataset.commit(manifest)
            listener.committed(SELECT, manifest)
    listener.end(SELECT)


def _num_workers(step: Step, options: Options) -> int:
    """Return how many workers a step gets: the command's word, else the recipe's, else one per core and GPU share."""
    asked = options.workers if options.workers is not None else step.workers
    return asked if asked is not None else len(os.sched_getaffinity(0))


def _session(steps: list[Step], options: Options) -> AbstractContextManager[None]:
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


def _finish(recipe: Recipe, dataset: Dataset, card: Card, steps: list[Step]) -> Summary:
    """Fold the manifests into the card, and the card into the summary."""
    counts = {column: dataset.counts(column) for column in dataset.columns()}
    producers = {column: next(dataset.manifests(column)).producer.label() for column in counts if counts[column].rows}
    columns = {c: ColumnSummary(counts=counts[c], producer=producers[c]) for c in producers}
    digest = dataset.digest()
    packed = dataset.counts(PACKED) if recipe.pack is not None else None
    # After `--only` some of the recipe may not be made yet: the dataset has no version until it is.
    wanted = {column for step in steps for column in step.columns} | ({PACKED} if recipe.pack is not None else set())
    if all(len(dataset.shards(column)) == card.plan.shards for column in wanted):
        card = card.model_copy(update={"state": "complete", "digest": digest})
    dataset.store.write(CARD, card.model_copy(update={"columns": columns}).to_json())
    limit = recipe.limits.failure_rate
    over = tuple(column for column, found in counts.items() if found.rows and found.failed > limit * found.rows)
    return Summary(digest, counts, packed, over)
