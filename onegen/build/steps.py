"""From a recipe to the ordered steps of a build.

Ingest, the source's own columns, what select's rules need, select, the other stages, pack.
"""

import dataclasses
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from onegen.build.drawn import drawn_name, needed_columns
from onegen.build.ingest import Ingest
from onegen.build.jobs import ColumnJob, StageJob
from onegen.build.pack import PackJob
from onegen.build.select import SELECT_PROVIDES, SelectJob
from onegen.build.source_column import source_job
from onegen.config.recipe import PACK, RESERVED, SOURCE, Recipe, StageConfig, make_annotator, make_source
from onegen.errors import ConfigError, nearest
from onegen.sample import IMAGE, SELECT, Annotator, Provides, Resources
from onegen.shards.manifest import Producer
from onegen.shards.views import check_names, image_fields
from onegen.shards.where import columns_in
from onegen.sources import Source
from onegen.storage.store import Store
from onegen.tasks.conditions import CONDITIONS


@dataclass(frozen=True)
class Step:
    """One stage of a build: its job, the columns it makes, and what each of its workers asks for."""

    name: str
    job: StageJob | SelectJob | PackJob
    columns: tuple[str, ...]
    workers: int | None = None
    resources: Resources = field(default_factory=Resources)


def make_steps(recipe: Recipe, store: Store) -> list[Step]:
    """Return the steps in order; raises ConfigError for anything a recipe gets wrong beyond its own form."""
    source = make_source(recipe.source)
    if source.kind != recipe.kind:
        raise ConfigError(
            f"kind must be that of the source, got {recipe.kind!r} with source {source.name!r}, whose samples are "
            f"of kind {source.kind!r}. Write `kind: {source.kind}` in the recipe, or choose another source."
        )
    annotators = {
        stage.name: [make_annotator(name, options) for name, options in stage.annotators.items()]
        for stage in recipe.stages
    }
    brought = dict(source.provides)
    columns = [*brought, *(annotator.name for stage in recipe.stages for annotator in annotators[stage.name])]
    _refuse_clashes(columns, [stage.name for stage in recipe.stages if stage.name in brought])
    made = {annotator.name: annotator.provides for group in annotators.values() for annotator in group}
    for name, provided in {**brought, **made}.items():
        check_names(name, provided)
    provides = {IMAGE: Provides(fields=image_fields(recipe.kind)), **brought, **made}
    fields = {name: provided.fields for name, provided in provides.items()}
    select = _select_job(recipe, fields)
    before, after = _around_select(recipe, annotators, fields, set(select.columns))
    steps = [_ingest_step(recipe, store, source)]
    if brought:
        steps.append(_source_step(recipe, store, source, brought))
    gates: tuple[str, ...] = (IMAGE,)
    known = [IMAGE, *brought]
    for stage in before:
        steps.append(_stage_step(recipe, store, stage, annotators[stage.name], gates, known, provides))
        known += [annotator.name for annotator in annotators[stage.name]]
    steps.append(Step(SELECT, select, (SELECT,)))
    provides[SELECT] = SELECT_PROVIDES
    gates = (IMAGE, SELECT)
    for stage in after:
        steps.append(_stage_step(recipe, store, stage, annotators[stage.name], gates, known, provides))
        known += [annotator.name for annotator in annotators[stage.name]]
    if recipe.pack is not None:
        steps.append(Step(PACK, _pack_job(recipe, store, columns, provides), ()))
    return steps


def find_columns(steps: list[Step], name: str) -> set[str]:
    """Return the columns a STAGE argument means, a stage's or a column's name; raises ConfigError for another."""
    for step in steps:
        if name == step.name:
            return set(step.columns) or {step.name}
    columns = [column for step in steps for column in step.columns]
    if name in columns:
        return {name}
    raise ConfigError(
        f"stage must be one of the recipe's, got {name!r}; {nearest(name, [*(s.name for s in steps), *columns])}"
    )


def downstream(steps: list[Step], columns: set[str]) -> list[str]:
    """Return the columns made from these, directly or through others, in build order."""
    reached = set(columns)
    found: list[str] = []
    for step in steps:
        if isinstance(step.job, StageJob):
            for job in step.job.columns:
                if job.column not in reached and reached & set(job.inputs):
                    reached.add(job.column)
                    found.append(job.column)
    return found


def column_job(
    annotator: Annotator,
    gates: tuple[str, ...] = (),
    provides: Mapping[str, Provides] | None = None,
    where: str | None = None,
) -> ColumnJob:
    """Return how a column is made by an annotator, with the settings its fingerprint covers."""
    provides = provides or {}
    scope: dict[str, Mapping[str, pa.DataType]] = {}
    if where is not None:
        fields = {name: provided.fields for name, provided in provides.items()}
        scope = {column: fields[column] for column in sorted(columns_in(where, fields))}
    weights = [dataclasses.asdict(weight) for weight in annotator.weights()]
    settings: dict[str, Any] = {
        "name": annotator.name,
        "version": annotator.version,
        "options": dataclasses.asdict(annotator),  # type: ignore[call-overload]
        "weights": [{k: w[k] for k in ("name", "revision", "sha256")} for w in weights],
    }
    return ColumnJob(
        annotator=annotator,
        settings=settings,
        producer=Producer(
            name=getattr(annotator, "producer", annotator.name), version=annotator.version, weights=weights
        ),
        gates=(*gates, *annotator.requires),
        provides={name: provides[name] for name in annotator.requires},
        where=where,
        where_scope=scope,
    )


def _refuse_clashes(columns: list[str], stages: list[str]) -> None:
    """Raise ConfigError for columns that would be one.

    A recipe's dotted names hide the names their classes have, and a source brings columns the recipe does not name;
    `stages` are those that share a name with one of these.
    """
    twice = [*(column for column in columns if column in RESERVED or columns.count(column) > 1), *stages]
    if twice:
        raise ConfigError(
            f"columns must be unique and none of {', '.join(RESERVED)}, got {twice[0]!r}. "
            f"Give one of the annotators or stages another name, or let the source bring no column of this name."
        )


def _source_step(recipe: Recipe, store: Store, source: Source, brought: Mapping[str, Provides]) -> Step:
    jobs = tuple(source_job(source, name, provides) for name, provides in brought.items())
    job = StageJob(SOURCE, store, recipe.kind, jobs, recipe.image.batch_size, recipe.limits, source)
    return Step(SOURCE, job, tuple(brought), recipe.image.workers)


def _ingest_step(recipe: Recipe, store: Store, source: Source) -> Step:
    image = recipe.image
    ingest = Ingest(image.min_side, image.max_side, image.max_pixels, image.licence, image.attribution)
    job = StageJob(IMAGE, store, recipe.kind, (column_job(ingest),), image.batch_size, recipe.limits, source)
    return Step(IMAGE, job, (IMAGE,), image.workers)


def _stage_step(
    recipe: Recipe,
    store: Store,
    stage: StageConfig,
    annotators: list[Annotator],
    gates: tuple[str, ...],
    known: list[str],
    provides: Mapping[str, Provides],
) -> Step:
    reachable = {name: provides[name] for name in known}
    for annotator in annotators:
        missing = [name for name in annotator.requires if name not in reachable]
        if missing:
            raise ConfigError(
                f"annotator {annotator.name!r} needs the column {missing[0]!r} from an earlier stage. "
                f"Add a stage with it before {stage.name!r}."
            )
    jobs = tuple(column_job(annotator, gates, reachable, stage.where) for annotator in annotators)
    return Step(
        stage.name,
        StageJob(stage.name, store, recipe.kind, jobs, stage.batch_size, recipe.limits),
        tuple(job.column for job in jobs),
        stage.workers,
        _resources(stage, annotators),
    )


def _resources(stage: StageConfig, annotators: list[Annotator]) -> Resources:
    """Return what a worker asks for: the stage's own word, else the most any of its annotators declares."""
    declared = [annotator.resources for annotator in annotators]
    return Resources(
        stage.num_cpus if stage.num_cpus is not None else max(r.num_cpus for r in declared),
        stage.num_gpus if stage.num_gpus is not None else max(r.num_gpus for r in declared),
        stage.memory if stage.memory is not None else sum(r.memory for r in declared),
    )


def _select_job(recipe: Recipe, fields: Mapping[str, Mapping[str, pa.DataType]]) -> SelectJob:
    named = {column for rule in recipe.select.keep.values() for column in columns_in(rule, fields)}
    return SelectJob(recipe.select, recipe.kind, fields, tuple(sorted({IMAGE, *named})))


def _around_select(
    recipe: Recipe,
    annotators: Mapping[str, list[Annotator]],
    fields: Mapping[str, Mapping[str, pa.DataType]],
    needed: set[str],
) -> tuple[list[StageConfig], list[StageConfig]]:
    """Split the stages into those select's rules need, with what these need in turn, and the rest; order is kept."""
    needed = set(needed)
    before: list[StageConfig] = []
    for stage in reversed(recipe.stages):
        if needed & {annotator.name for annotator in annotators[stage.name]}:
            before.insert(0, stage)
            needed |= {name for annotator in annotators[stage.name] for name in annotator.requires}
            if stage.where is not None:
                needed |= columns_in(stage.where, fields)
    return before, [stage for stage in recipe.stages if stage not in before]


def _pack_job(recipe: Recipe, store: Store, columns: list[str], provides: Mapping[str, Provides]) -> PackJob:
    assert recipe.pack is not None
    fields = {name: provided.fields for name, provided in provides.items() if name != SELECT}
    parts = {name: [part.name for part in provided.parts] for name, provided in provides.items()}
    parts[IMAGE] = ["jpg", "png", "webp", "json"]
    packed = recipe.pack.columns if recipe.pack.columns is not None else [IMAGE, *columns]
    for name in [*packed, *recipe.pack.require]:
        if name not in fields:
            raise ConfigError(
                f"pack names the column {name!r}, which the recipe does not make; {nearest(name, list(fields))}"
            )
    _check_render(recipe.pack.render, fields)
    named = tuple(sorted(columns_in(recipe.where, fields))) if recipe.where else ()
    with_image = tuple(dict.fromkeys([IMAGE, *packed]))
    holders = {drawn_name(name): "render" for name in recipe.pack.render}
    for column in with_image:
        for name in parts[column]:
            if holders.setdefault(name, column) != column:
                raise ConfigError(
                    f"part names must be unique in the packed view, got {name!r} in {holders[name]} and {column}. "
                    f"List the columns to pack in pack.columns without one of them."
                )
    require, render = tuple(recipe.pack.require), tuple(dict.fromkeys(recipe.pack.render))
    drawn_from = {name: provides[name] for name in needed_columns(render)}
    return PackJob(store, recipe.kind, with_image, require, fields, recipe.where, named, render, drawn_from)


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
