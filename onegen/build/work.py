"""What a command asks a build to do, checked before anything is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from onegen.build.assemble import make_steps
from onegen.build.jobs import Permissions
from onegen.build.pending import refuse_changed_options
from onegen.build.provided import pin_provided
from onegen.build.steps import Step, downstream, find_columns
from onegen.config.recipe import SOURCE, Recipe, make_source
from onegen.errors import ConfigError, nearest
from onegen.executor.contract import Retry
from onegen.sample import IMAGE, PACKED, SELECT, Kind
from onegen.shards.dataset import Dataset
from onegen.shards.views import SETS
from onegen.sources import Source
from onegen.storage.store import Store


@dataclass(frozen=True)
class Options:
    """How to run a build; but for `limit`, none of it changes a byte of the output.

    `only` names stages or columns to run; `recompute` those whose committed work may be thrown away; `retry` makes
    failed rows with a matching reason be computed again, in all columns or those of `retry_stage`; `limit` cuts the
    listing when the plan is made, and is pinned with it; `drop` names columns to delete that the recipe does not make;
    `extend` lists again and plans what is new or changed as further shards, up to `limit` items in all.
    """

    executor: Literal["local", "ray"] = "local"
    address: str | None = None
    workers: int | Literal["auto"] | None = None
    only: tuple[str, ...] = ()
    recompute: tuple[str, ...] = ()
    retry: Retry | None = None
    retry_stage: str | None = None
    limit: int | None = None
    drop: tuple[str, ...] = ()
    extend: bool = False


@dataclass(frozen=True)
class Work:
    """A build before it runs: its steps in order, and what may be thrown away or tried again on the way."""

    recipe: Recipe
    options: Options
    dataset: Dataset
    source: Source
    steps: Sequence[Step]
    permissions: Permissions

    def wanted_steps(self) -> list[Step]:
        """Return the steps that --only leaves, in order."""
        only = {column for name in self.options.only for column in find_columns(self.steps, name)}
        return [step for step in self.steps if not only or only & {*step.columns, step.name}]

    @property
    def reads_source(self) -> bool:
        """Whether a step runs that reads the source: what is stored already is annotated without it."""
        return any(step.name in (IMAGE, SOURCE) for step in self.wanted_steps())


def prepare(recipe: Recipe, store: Store, options: Options) -> Work:
    """Return what a recipe and options ask for; raises ConfigError for anything wrong with them."""
    source, dataset = make_source(recipe.source), Dataset(store)
    card = dataset.card()
    if card is not None:
        pin_provided(source, recipe.source, card, options.recompute)
    steps = make_steps(recipe, source, store)
    _check_options(steps, dataset, options)
    return Work(recipe, options, dataset, source, steps, _permissions(steps, options, recipe.kind))


def check_committed(work: Work) -> None:
    """Raise ConfigError for an output that holds something else, or work that changed options would throw away."""
    _check_output(work)
    settings = {column: provenance for step in work.steps for column, provenance in step.settings.items()}
    refuse_changed_options(work.dataset, settings, work.permissions)


def _permissions(steps: Sequence[Step], options: Options, kind: Kind) -> Permissions:
    """Return what the options allow a build to throw away or try again."""
    permitted = {column for name in options.recompute for column in find_columns(steps, name)}
    follow = permitted | set(downstream(steps, permitted))
    retries: dict[str, Retry] = {}
    if options.retry is not None:
        every = {column for step in steps for column in step.columns} - {SELECT, PACKED}
        chosen = find_columns(steps, options.retry_stage) if options.retry_stage else every
        retries = dict.fromkeys(sorted(chosen), options.retry)
        if kind in SETS:
            # A set that gets an image back is another sample: what was made of the incomplete one is made again.
            follow |= {after for column in chosen for after in downstream(steps, {column})}
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
    if options.limit is not None and options.extend:
        if options.limit < card.plan.items:
            raise ConfigError(
                f"--limit must be at least the {card.plan.items:,} items planned already, got {options.limit}. "
                f"Raise it, or leave it out to plan all there is."
            )
    elif options.limit is not None:
        pinned["--limit"], asked["--limit"] = card.limit, options.limit
    changed = [f"{key}: {pinned[key]!r} -> {asked[key]!r}" for key in pinned if pinned[key] != asked[key]]
    if changed:
        raise ConfigError(
            f"output must hold this recipe's dataset, and {url} holds {card.name!r}, whose plan is pinned: "
            f"{'; '.join(changed)}. Choose another OUT, or put the recipe back."
        )


def _check_options(steps: Sequence[Step], dataset: Dataset, options: Options) -> None:
    store, made = dataset.store, {column for step in steps for column in step.columns}
    for column in options.drop:
        if column in made:
            raise ConfigError(f"--drop must name a column the recipe does not make, got {column!r}. Take it out first.")
        if column not in dataset.columns():
            known = nearest(column, dataset.columns())
            raise ConfigError(f"--drop must name a column of {store.url}, got {column!r}; {known}")
    for name in (*options.only, *options.recompute, *([options.retry_stage] if options.retry_stage else [])):
        find_columns(steps, name)
    if options.extend and options.only:
        raise ConfigError("--extend must stand without --only: new shards need every column. Leave --only out.")
    if store.is_private and options.workers != 0:
        raise ConfigError(f"a dataset on {store.url} needs --workers 0 in this version: other processes cannot see it.")
    if options.executor == "local" and options.address is not None:
        raise ConfigError(
            f"--address must stand with --executor ray, got {options.address} with local. Leave one of them out."
        )
    if options.executor == "ray" and options.workers == 0:
        raise ConfigError(
            "--workers must be at least 1 with --executor ray, got 0. Use --executor local to run in this process."
        )
