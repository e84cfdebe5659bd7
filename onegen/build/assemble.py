"""From a recipe to the ordered steps of a build.

Ingest, the source's own columns, what select's rules need, select, the other stages, pack.
"""

import dataclasses
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from onegen.build.brought_column import brought_job
from onegen.build.drawn import drawn_name, needed_columns
from onegen.build.feed import ImageFeed, SourceColumnFeed, StoredFeed
from onegen.build.ingest import Ingest
from onegen.build.jobs import ColumnJob, part_names, stored
from onegen.build.pack import PackJob, PackStep
from onegen.build.select import SELECT_PROVIDES, SelectStep
from onegen.build.source_column import source_job
from onegen.build.stage import StageJob
from onegen.build.stage_step import StageStep
from onegen.build.steps import Step
from onegen.config.recipe import RESERVED, SOURCE, Recipe, StageConfig, make_annotator
from onegen.errors import ConfigError, nearest
from onegen.sample import CAME_LATER, CHANGES_NO_RESULT, IMAGE, SELECT, Annotator, Kind, Provides, Resources
from onegen.shards.manifest import Producer, Provenance
from onegen.shards.views import SETS, check_names, image_fields
from onegen.shards.where import columns_in
from onegen.sources import Brings, Source, bring_of
from onegen.storage.store import Store
from onegen.tasks.conditions import CONDITIONS

LEAST_THREADS = 2
"""Threads beside a device, where its worker reserves less than as many cores: one that reads, one that encodes."""
ENTITIES, SEGMENTATION = "entities", "segmentation"
"""Columns of which one numbers the other."""


@dataclass(frozen=True)
class _Columns:
    """The columns of a dataset: the annotator of each by stage, how the source's are made, what all of them store."""

    by_stage: Mapping[str, Mapping[str, Annotator]]
    brought: Mapping[str, ColumnJob]
    provides: Mapping[str, Provides]

    @property
    def fields(self) -> dict[str, Mapping[str, pa.DataType]]:
        """The fields of each column: what an expression may name."""
        return {name: provides.fields for name, provides in self.provides.items()}

    @property
    def named(self) -> list[str]:
        """Everything beside `image` and `select`, in the recipe's order."""
        return [*self.brought, *(column for columns in self.by_stage.values() for column in columns)]


def make_steps(recipe: Recipe, source: Source, store: Store) -> list[Step]:
    """Return the steps in order; raises ConfigError for anything a recipe gets wrong beyond its own form."""
    if source.kind != recipe.kind:
        raise ConfigError(
            f"kind must be that of the source, got {recipe.kind!r} with source {source.name!r}, whose samples are "
            f"of kind {source.kind!r}. Write `kind: {source.kind}` in the recipe, or choose another source."
        )
    columns = _name_columns(recipe, source)
    select = _select_step(recipe, columns)
    before, after = _around_select(recipe, columns, set(select.inputs))
    stages = [*before, *after]
    staged: list[Step] = []
    for index, stage in enumerate(stages):
        gates = (IMAGE,) if stage in before else (IMAGE, SELECT)
        earlier = [column for other in stages[:index] for column in columns.by_stage[other.name]]
        reachable = {name: columns.provides[name] for name in (IMAGE, *columns.brought, *earlier)}
        staged.append(_stage_step(recipe, store, stage, columns.by_stage[stage.name], gates, reachable))
    steps: list[Step] = [_ingest_step(recipe, store, source)]
    if columns.brought:
        steps.append(_source_step(recipe, store, source, tuple(columns.brought.values())))
    steps += [*staged[: len(before)], select, *staged[len(before) :]]
    if recipe.pack is not None:
        steps.append(PackStep(_pack_job(recipe, store, columns)))
    return steps


def column_job(
    column: str,
    annotator: Annotator,
    kind: Kind,
    gates: tuple[str, ...] = (),
    provides: Mapping[str, Provides] | None = None,
    where: str | None = None,
) -> ColumnJob:
    """Return how a column is made by an annotator, with the settings its fingerprint covers."""
    provides = provides or {}
    scope: dict[str, Mapping[str, pa.DataType]] = {}
    if where is not None:
        fields = {name: provided.fields for name, provided in provides.items()}
        scope = {name: fields[name] for name in sorted(columns_in(where, fields))}
    weights = [dataclasses.asdict(weight) for weight in annotator.weights()]
    settings: dict[str, Any] = {
        "name": annotator.name,
        "version": annotator.version,
        "options": _options(annotator),
        "weights": [{k: w[k] for k in ("name", "revision", "sha256")} for w in weights],
    }
    producer = Producer(name=getattr(annotator, "producer", annotator.name), version=annotator.version, weights=weights)
    return ColumnJob(
        annotator,
        Provenance(column, kind, settings, producer, where),
        gates=(*gates, *annotator.requires),
        provides={name: provides[name] for name in annotator.requires},
        where_scope=scope,
        part_names=part_names(column, annotator.name, annotator.provides),
    )


def _stored(column: str, annotator: Annotator) -> Provides:
    """Return what a column stores that an annotator makes."""
    return stored(annotator.provides, part_names(column, annotator.name, annotator.provides))


def _name_columns(recipe: Recipe, source: Source) -> _Columns:
    """Make every annotator, and give each column its one name; raises ConfigError where two would be one."""
    by_stage: dict[str, dict[str, Annotator]] = {}
    brought = _brought(recipe, source)
    makers = [(column, f"source {source.name!r}") for column in [*source.provides, *bring_of(source)]]
    for stage in recipe.stages:
        entries = [make_annotator(name, options) for name, options in stage.annotators.items()]
        by_stage[stage.name] = dict(entries)
        makers += [(column, f"stage {stage.name!r}") for column, _ in entries]
    makers += [(stage.name, "a stage of that name") for stage in recipe.stages if stage.name in brought]
    _refuse_clashes(makers)
    provides = {column: stored(job.annotator.provides, job.part_names) for column, job in brought.items()} | {
        column: _stored(column, annotator) for group in by_stage.values() for column, annotator in group.items()
    }
    for column, provided in provides.items():
        check_names(column, provided)
    _check_numbering(bring_of(source), by_stage)
    image = Provides(Ingest.provides.parts, image_fields(recipe.kind))
    return _Columns(by_stage, brought, {IMAGE: image, **provides, SELECT: SELECT_PROVIDES})


def _set_job(job: ColumnJob, recipe: Recipe) -> ColumnJob:
    """Return how a column of the recipe is made: of a set, images that are not ok may be left out."""
    if recipe.kind not in SETS or recipe.incomplete == "fail":
        return job
    settings = {**job.provenance.settings, "incomplete": recipe.incomplete}
    return dataclasses.replace(job, is_whole=False, provenance=dataclasses.replace(job.provenance, settings=settings))


def _brought(recipe: Recipe, source: Source) -> dict[str, ColumnJob]:
    """Return how the columns of the source are made: those it provides, then those the recipe brings along."""
    jobs = {name: source_job(source, name, provides, recipe.kind) for name, provides in source.provides.items()}
    for column, entry in bring_of(source).items():
        jobs[column] = _set_job(brought_job(source, entry, recipe.kind), recipe)
    if isinstance(source, Brings):
        source.check_brought()
    return jobs


def _check_numbering(entries: Container[str], by_stage: Mapping[str, Mapping[str, Annotator]]) -> None:
    """Raise ConfigError where masks that are brought would number entities that an annotator found."""
    makers = [stage for stage, annotators in by_stage.items() if ENTITIES in annotators]
    if SEGMENTATION in entries and makers:
        raise ConfigError(
            f"masks that are brought must count entities that are brought, got {SEGMENTATION!r} from the source and "
            f"{ENTITIES!r} from stage {makers[0]!r}: value 1 would be another thing. Bring {ENTITIES!r} too, or call "
            f"the masks otherwise: masks_given: seg.png."
        )


def _refuse_clashes(makers: Sequence[tuple[str, str]]) -> None:
    """Raise ConfigError for columns that would be one, given each with who makes it.

    A recipe's dotted names hide the names their classes have, and a source brings columns the recipe does not name.
    """
    by_column: dict[str, list[str]] = {}
    for column, maker in makers:
        by_column.setdefault(column, []).append(maker)
    for column, names in by_column.items():
        if len(names) > 1 or column in RESERVED:
            raise ConfigError(
                f"columns must be unique and none of {', '.join(RESERVED)}, got {column!r} of {' and '.join(names)}. "
                f"Give one of them another name, such as {column}_b: {{use: ...}}, or leave it out."
            )


def _options(annotator: Annotator) -> dict[str, Any]:
    """Return the options that change results; of these one that came later is left out while it has its default.

    What was made before the option was there is what its default makes, and must not look changed.
    """
    options: dict[str, Any] = dataclasses.asdict(annotator)  # type: ignore[call-overload]
    fields = dataclasses.fields(annotator)  # type: ignore[arg-type]
    late = {field.name: field.default for field in fields if field.metadata.get(CAME_LATER)}
    silent = {field.name for field in fields if field.metadata.get(CHANGES_NO_RESULT)}
    return {
        name: value
        for name, value in options.items()
        if name not in silent and (name not in late or value != late[name])
    }


def _ingest_step(recipe: Recipe, store: Store, source: Source) -> StageStep:
    image = recipe.image
    ingest = Ingest(
        image.min_side,
        image.max_side,
        image.max_pixels,
        image.licence,
        image.attribution,
        image.colour,
        image.format,
    )
    feed = partial(ImageFeed, source=source, kind=recipe.kind)
    columns = (_set_job(column_job(IMAGE, ingest, recipe.kind), recipe),)
    return StageStep(StageJob(IMAGE, store, columns, image.batch_size, recipe.limits, feed), image.workers)


def _source_step(recipe: Recipe, store: Store, source: Source, columns: tuple[ColumnJob, ...]) -> StageStep:
    feed = partial(SourceColumnFeed, source=source)
    job = StageJob(SOURCE, store, columns, recipe.image.batch_size, recipe.limits, feed)
    return StageStep(job, recipe.image.workers)


def _stage_step(
    recipe: Recipe,
    store: Store,
    stage: StageConfig,
    annotators: Mapping[str, Annotator],
    gates: tuple[str, ...],
    reachable: Mapping[str, Provides],
) -> StageStep:
    for column, annotator in annotators.items():
        missing = [name for name in annotator.requires if name not in reachable]
        if missing:
            raise ConfigError(
                f"annotator {column!r} needs the column {missing[0]!r} from an earlier stage. "
                f"Add a stage with it before {stage.name!r}."
            )
    columns = tuple(
        _set_job(column_job(column, annotator, recipe.kind, gates, reachable, stage.where), recipe)
        for column, annotator in annotators.items()
    )
    needs_pixels = any(annotator.needs_pixels for annotator in annotators.values())
    feed = partial(StoredFeed, needs_pixels=needs_pixels, kind=recipe.kind)
    resources = _resources(stage, list(annotators.values()))
    threads = max(LEAST_THREADS, math.ceil(resources.num_cpus))
    job = StageJob(
        stage.name, store, columns, stage.batch_size, recipe.limits, feed, threads, batch_pixels=stage.batch_pixels
    )
    return StageStep(job, stage.workers, resources)


def _resources(stage: StageConfig, annotators: Sequence[Annotator]) -> Resources:
    """Return what a worker asks for: the stage's own word, else the most any of its annotators declares."""
    declared = [annotator.resources for annotator in annotators]
    return Resources(
        stage.num_cpus if stage.num_cpus is not None else max(r.num_cpus for r in declared),
        stage.num_gpus if stage.num_gpus is not None else max(r.num_gpus for r in declared),
        stage.memory if stage.memory is not None else sum(r.memory for r in declared),
    )


def _select_step(recipe: Recipe, columns: _Columns) -> SelectStep:
    fields = {name: fields for name, fields in columns.fields.items() if name != SELECT}
    named = {column for rule in recipe.select.keep.values() for column in columns_in(rule, fields)}
    is_whole = recipe.kind in SETS and recipe.incomplete == "fail"
    return SelectStep(recipe.select, recipe.kind, fields, tuple(sorted({IMAGE, *named})), is_whole=is_whole)


def _around_select(recipe: Recipe, columns: _Columns, needed: set[str]) -> tuple[list[StageConfig], list[StageConfig]]:
    """Split the stages into those select's rules need, with what these need in turn, and the rest; order is kept."""
    needed = set(needed)
    before: list[StageConfig] = []
    for stage in reversed(recipe.stages):
        annotators = columns.by_stage[stage.name]
        if needed & set(annotators):
            before.insert(0, stage)
            needed |= {name for annotator in annotators.values() for name in annotator.requires}
            if stage.where is not None:
                needed |= columns_in(stage.where, columns.fields)
    return before, [stage for stage in recipe.stages if stage not in before]


def _pack_job(recipe: Recipe, store: Store, columns: _Columns) -> PackJob:
    assert recipe.pack is not None
    fields = {name: fields for name, fields in columns.fields.items() if name != SELECT}
    packed = recipe.pack.columns if recipe.pack.columns is not None else [IMAGE, *columns.named]
    for name in [*packed, *recipe.pack.require]:
        if name not in fields:
            raise ConfigError(
                f"pack names the column {name!r}, which the recipe does not make; {nearest(name, list(fields))}"
            )
    _check_render(recipe.pack.render, fields)
    with_image, render = tuple(dict.fromkeys([IMAGE, *packed])), tuple(dict.fromkeys(recipe.pack.render))
    _check_part_names(with_image, render, columns.provides)
    return PackJob(
        store,
        recipe.kind,
        with_image,
        tuple(recipe.pack.require),
        fields,
        recipe.where,
        tuple(sorted(columns_in(recipe.where, fields))) if recipe.where else (),
        render,
        recipe.select.least_images(recipe.kind),
        {name: columns.provides[name] for name in needed_columns(render)},
    )


def _check_part_names(packed: Sequence[str], render: Sequence[str], provides: Mapping[str, Provides]) -> None:
    """Raise ConfigError where two parts of a packed sample would have one name."""
    holders = {"json": "pack"} | {drawn_name(name): "render" for name in render}
    for column in packed:
        for part in provides[column].parts:
            if holders.setdefault(part.name, column) != column:
                raise ConfigError(
                    f"part names must be unique in the packed view, got {part.name!r} in {holders[part.name]} and "
                    f"{column}. List the columns to pack in pack.columns without one of them."
                )


def _check_render(render: Sequence[str], fields: Container[str]) -> None:
    """Raise ConfigError for a condition that cannot be drawn."""
    for name in render:
        if name not in CONDITIONS:
            raise ConfigError(f"pack.render names {name!r}, which is not drawn; {nearest(name, list(CONDITIONS))}")
        lacking = [column for column in CONDITIONS[name].columns if column not in fields]
        if lacking:
            raise ConfigError(
                f"pack.render draws {name!r} from the column {lacking[0]!r}, which the recipe does not make. "
                f"Add a stage with it."
            )
