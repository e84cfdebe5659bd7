"""The main job: recipe to plan to stages to executor, and the same for `retry`.

Run it with `onegen build RECIPE OUT`. Whatever stopped a build, the same command goes on where it stopped.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from onegen.audit.readme import write_readme
from onegen.build.card import OpenCard, describe, reopen_as_it_is
from onegen.build.extend import extension
from onegen.build.foresight import foresee
from onegen.build.jobs import Permissions
from onegen.build.pending import unmatched_retry
from onegen.build.probe import Nodes, check_cluster, check_machine
from onegen.build.provided import provided_types
from onegen.build.steps import Step, downstream
from onegen.build.work import Options, Work, check_committed, prepare
from onegen.build.workers import WORKERS_PER_CORE, most_workers, num_workers, pool, session, workers_asked
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError, Stopped
from onegen.executor.contract import Job, ShardResult, Task
from onegen.executor.supervisor import Supervisor
from onegen.sample import IMAGE, PACKED
from onegen.shards.dataset import Card, ColumnSummary, Dataset
from onegen.shards.manifest import Counts, Manifest, where_errors_of
from onegen.shards.plan import compare_plan, drop_unpinned, extend_plan, make_plan, read_plan
from onegen.shards.run import Pace
from onegen.shards.sparing import spare_pandas
from onegen.shards.sweep import sweep, sweep_columns
from onegen.shards.takedowns import TAKEDOWN, read_takedowns
from onegen.sources import OPTED_OUT, Withdraws, passed_over
from onegen.storage.lease import lease
from onegen.storage.store import Store, explain
from onegen.weights.published import forbids_commercial


class Listener(Protocol):
    """Who is told how a build goes; see `onegen.cli.progress`."""

    def note(self, text: str) -> None:
        """Hear something worth a line."""
        ...

    def plan(self, steps: Sequence[str], shards: int) -> None:
        """Hear which steps run, in order, and how many shards each has."""
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
class Summary:
    """How a build ended: the dataset's digest, rows by status per column, and the columns that failed too often.

    There is no digest while a column of the recipe is absent or stale.
    """

    digest: str | None
    counts: Mapping[str, Counts]
    packed: Counts | None
    over_limit: tuple[str, ...] = ()


def build(recipe: Recipe, store: Store, options: Options, listener: Listener) -> Summary:
    """Build a dataset, or go on building it.

    Raises ConfigError (nothing committed was changed), Stopped (run the same command again) or LeaseHeld.
    """
    spare_pandas()
    work = prepare(recipe, store, options)
    try:
        check_committed(work)
        check_machine(work)
        with lease(store), session(work), work.dataset.alone():
            nodes = check_cluster(work)
            work.dataset.write_catalog()
            # Again: another driver may have made the dataset since.
            check_committed(work)
            return _build(work, listener, nodes)
    except OSError as error:
        raise Stopped(explain(error, store)) from error


def _build(work: Work, listener: Listener, nodes: Nodes | None) -> Summary:
    _sweep(work, listener)
    foreseen = foresee(work)
    card = _pin_plan(work, listener)
    if work.options.extend:
        foreseen = {}  # of the shards before
    _name_takedowns(work, listener)
    _drop(work, card, listener)
    _announce(work, listener)
    _name_licences(work, listener)
    steps = work.wanted_steps()
    listener.plan([step.name for step in steps], card.num_shards)
    for step in steps:
        _run_step(step, work, card, listener, foreseen.get(step.name), nodes)
    return _finish(work, card, listener)


def _sweep(work: Work, listener: Listener) -> None:
    swept = sweep(work.dataset)
    if swept.orphans:
        listener.note(f"swept {len(swept.orphans)} file(s) that an earlier run left uncommitted")
    if swept.lost:
        more = f" and {len(swept.lost) - 1} more" if len(swept.lost) > 1 else ""
        listener.note(f"{swept.lost[0]}{more} gone since it was committed: the shard is made again")
        reopen_as_it_is(work.dataset)


def _drop(work: Work, card: OpenCard, listener: Listener) -> None:
    """Delete the columns the user no longer wants, and name those the recipe no longer makes."""
    for column in work.options.drop:
        card.reopen()
        work.dataset.drop(column)
        listener.note(f"dropped column {column}")
    left = sorted(set(work.dataset.columns()) - {column for step in work.steps for column in step.columns})
    if left:
        listener.note(
            f"the recipe no longer makes {', '.join(left)}: kept on disk, out of the digest. "
            f"Delete with --drop {left[0]}."
        )


def _name_licences(work: Work, listener: Listener) -> None:
    """Name the models whose licences forbid what the recipe says the dataset is for."""
    if work.recipe.use != "commercial":
        return
    for step in work.steps:
        for column, provenance in step.settings.items():
            for weights in provenance.producer.weights:
                if forbids_commercial(weights["licence"]):
                    listener.note(
                        f"{column} is made with {weights['name']}, whose licence ({weights['licence']}) forbids the "
                        f"recipe's use, which is commercial; every manifest of the column says so"
                    )


def _name_takedowns(work: Work, listener: Listener) -> None:
    """Say that stored files may still hold what was taken down."""
    takedowns, card = read_takedowns(work.dataset.store), work.dataset.card()
    if card is not None and takedowns.digest != card.purged and work.dataset.shards(IMAGE):
        listener.note(
            f"{len(takedowns):,} takedown(s) hold for what is ingested from here on; `onegen purge "
            f"{work.dataset.store.url}` removes what is stored already."
        )


def _announce(work: Work, listener: Listener) -> None:
    """Say what --recompute drags along, how many workers there are not, and what a retry cannot find."""
    permitted = work.permissions.permitted
    if permitted:
        after = ", ".join(downstream(work.steps, set(permitted))) or "nothing"
        listener.note(f"recompute {', '.join(sorted(permitted))}; {after} follows where its inputs change")
    numbers = [workers_asked(step, work.options) for step in work.steps]
    asked = max((number for number in numbers if isinstance(number, int)), default=0)
    if work.options.address is None and asked > most_workers():
        listener.note(
            f"{asked:,} workers were asked for; this machine gets {most_workers()}, {WORKERS_PER_CORE} for each core"
        )
    unmatched = unmatched_retry(work.dataset, work.permissions)
    if unmatched:
        listener.note(unmatched)


def _pin_plan(work: Work, listener: Listener) -> OpenCard:
    """Return the dataset's card; make or extend the plan first where that is due. Writing the card pins the plan."""
    recipe, dataset, source = work.recipe, work.dataset, work.source
    card = dataset.card()
    if card is not None:
        drop_unpinned(dataset.store, card.plan.shards)
        if work.options.extend:
            return _extend_plan(work, card, listener)
        _compare_source(work, card, listener)
        plan = card.plan.model_copy(update={"provides": provided_types(source)})
        return OpenCard(dataset, describe(recipe, source, plan, card.limit, card.columns, card.purged))
    listener.note(f"listing {source.root}")
    plan = make_plan(dataset.store, source.listing(), recipe.samples_per_shard, work.options.limit)
    if plan.items == 0:
        raise ConfigError(
            f"source must hold at least one image, got none in {source.root}. Check the path and file types."
        )
    listener.note(f"planned {plan.items:,} items in {plan.shards:,} shards")
    plan = plan.model_copy(update={"passed_over": dict(passed_over(source)), "provides": provided_types(source)})
    for line in plan.omissions():
        listener.note(line)
    card_file = OpenCard(dataset, describe(recipe, source, plan, work.options.limit, {}))
    card_file.reopen()
    return card_file


def _extend_plan(work: Work, card: Card, listener: Listener) -> OpenCard:
    """Plan what is new or changed as further shards, and pin them; rows there are stay what they are."""
    recipe, dataset, source, limit = work.recipe, work.dataset, work.source, work.options.limit
    _refuse_withdrawn(work, card)
    listener.note(f"listing {source.root} again")
    plan, changes = extend_plan(dataset.store, card.plan, source.listing(), recipe.samples_per_shard, limit)
    for line in extension(card, plan, changes, limit):
        listener.note(line)
    facts: dict[str, Any] = {"provides": provided_types(source)}
    if plan.shards > card.plan.shards:
        facts["passed_over"] = dict(passed_over(source))
    plan = plan.model_copy(update=facts)
    card_file = OpenCard(dataset, describe(recipe, source, plan, limit, card.columns, card.purged))
    if plan.shards > card.plan.shards:
        card_file.reopen()
    return card_file


def _compare_source(work: Work, card: Card, listener: Listener) -> None:
    """Say what the pinned plan does not know of its source: what --limit cut off, and what changed since."""
    if card.limit is not None and work.options.limit is None:
        listener.note(
            f"planned with --limit {card.limit}: the dataset ends after {card.plan.items:,} items of "
            f"{card.source_root}. --extend plans the others too."
        )
    _refuse_withdrawn(work, card)
    if not work.reads_source or not getattr(work.source, "is_listing_cheap", True):
        return
    try:
        changes = compare_plan(work.dataset.store, card.plan.shards, work.source.listing())
    except ConfigError as error:
        asked = work.permissions.permitted | work.permissions.retries.keys()
        if IMAGE in asked or len(work.dataset.shards(IMAGE)) < card.plan.shards:
            raise
        listener.note(f"all images are stored, so the build goes on without its source: {error}")
        return
    new = 0 if card.limit is not None else changes.new
    if new or changes.changed or changes.gone:
        listener.note(
            f"the plan is pinned and {card.source_root} was not planned again: "
            f"{replace(changes, new=new).told('new', 'changed', 'gone')} since. {_what_is_taken(work, changes.changed)}"
        )


def _refuse_withdrawn(work: Work, card: Card) -> None:
    """Raise ConfigError where images are stored of subjects who asked to be left out since the plan was made."""
    source, dataset = work.source, work.dataset
    if not isinstance(source, Withdraws) or IMAGE in work.permissions.permitted:
        return
    withdrawn = [item for manifest in dataset.manifests(IMAGE) for item in _withdrawn(source, dataset, manifest)]
    if withdrawn:
        raise ConfigError(
            f"{dataset.store.url} must hold no image of who opted out, and holds those of {len(withdrawn)} planned "
            f"item(s) whose subjects opted out since, first {withdrawn[0]}. Throw them away, and what was made from "
            f"them, with --recompute image, or with `onegen takedown --subject` and `onegen purge`."
        )


def _withdrawn(source: Withdraws, dataset: Dataset, manifest: Manifest) -> list[str]:
    items = [item.item for item in read_plan(dataset.store, manifest.shard)]
    positions = [position for position, item in enumerate(items) if source.withdrawn(item)]
    if not positions:
        return []
    rows = dataset.rows(manifest)
    return [items[position] for position in positions if rows[position].reason not in (OPTED_OUT, TAKEDOWN)]


def _what_is_taken(work: Work, num_changed: int) -> str:
    """Say what becomes of files that are not as the plan saw them."""
    if IMAGE in work.permissions.permitted:
        return f"--recompute image takes the {num_changed:,} changed as they are now; --extend adds the new ones."
    return (
        "Committed rows stay as they are: --extend adds what is new or changed as new rows, retry takes failed ones as "
        "they are now, --recompute image all."
    )


def _run_step(
    step: Step,
    work: Work,
    card: OpenCard,
    listener: Listener,
    foreseen: Sequence[Task] | None,
    nodes: Nodes | None,
) -> None:
    num_shards = card.num_shards
    tasks = foreseen if foreseen is not None else step.tasks(work.dataset, num_shards, work.permissions)
    listener.begin(step.name, num_shards, num_shards - len(tasks))

    errors: Counter[str] = Counter()
    paces: dict[str, Pace] = defaultdict(Pace)

    def commit(result: ShardResult) -> None:
        card.reopen()
        for manifest in result.manifests:
            work.dataset.commit(manifest, result.pending)
            errors[manifest.column] += manifest.run.where_errors
            paces[manifest.column].add(manifest.run)
            listener.committed(step.name, manifest)

    def on_workers(job: Job, tasks: Sequence[Task]) -> None:
        workers = pool(step, job, work, nodes, listener.note)
        fixed = num_workers(step, work.options)
        tick, is_spread = partial(listener.waiting, step.name), work.options.executor == "ray"
        supervisor = Supervisor(
            workers, work.recipe.limits, workers.room if fixed is None else fixed, commit, tick, doubles=is_spread
        )
        supervisor.run(tasks)
        if supervisor.leaves_strays:
            sweep_columns(work.dataset, step.columns)

    if tasks:
        step.run(work.dataset, tasks, commit, on_workers)
        # The steps that follow ask several times of every manifest.
        work.dataset.write_catalog()
    _require_whole(step, work.dataset, num_shards)
    for column in sorted(+errors):
        listener.note(where_errors_of(column, errors[column]))
    for column, pace in sorted(paces.items()):
        if trouble := pace.trouble(column):
            listener.note(trouble)
    listener.end(step.name)


def _require_whole(step: Step, dataset: Dataset, num_shards: int) -> None:
    """Raise Stopped where a step ended without every shard: a worker that forked may have ended twice or never."""
    for column in step.columns:
        absent = sorted(set(range(num_shards)) - set(dataset.shards(column)))
        if absent:
            raise Stopped(
                f"step {step.name!r} must commit every shard of {column}, and ended without {len(absent)} of "
                f"{num_shards}, first {absent[0]:06d}. Run the same command again."
            )


def _finish(work: Work, card: OpenCard, listener: Listener) -> Summary:
    """Fold the manifests into the card, and the card into the summary."""
    dataset, recipe = work.dataset, work.recipe
    columns = sorted({column for step in work.steps for column in step.columns} & set(dataset.columns()))
    counts = {column: dataset.counts(column) for column in columns}
    producers = {column: next(dataset.manifests(column)).producer.label() for column in counts if counts[column].rows}
    unfinished = _unfinished(work, card.num_shards)
    if unfinished:
        listener.note(f"not made or made from something older: {', '.join(unfinished)}. Run the build without --only.")
    digest = None if unfinished else dataset.digest(columns)
    card.close({c: ColumnSummary(counts=counts[c], producer=producers[c]) for c in producers}, digest)
    write_readme(dataset)
    dataset.write_catalog()
    limit = recipe.limits.failure_rate
    over = tuple(column for column, rows in counts.items() if rows.rows and rows.failed > limit * rows.rows)
    return Summary(digest, counts, dataset.counts(PACKED) if recipe.pack is not None else None, over)


def _unfinished(work: Work, num_shards: int) -> list[str]:
    """Return the columns that are absent or stale somewhere: only a build of some steps alone leaves any."""
    if not work.options.only:
        return []
    everything = frozenset(column for step in work.steps for column in step.columns)
    unfinished: list[str] = []
    for step in work.steps:
        try:
            tasks = step.tasks(work.dataset, num_shards, Permissions(follow=everything))
        except ConfigError:
            unfinished += step.columns
            continue
        wanted = {column for task in tasks for column in task.columns}
        unfinished += [column for column in step.columns if column in wanted]
    return unfinished
