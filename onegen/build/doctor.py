"""What a recipe needs and whether it is there: on this machine, or on every node of a cluster.

A build stops at the first thing amiss; the doctor names them all, each with the way out, and leaves nothing behind.
"""

import itertools
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from onegen.build.brought_column import make_reader
from onegen.build.probe import lacking_here, lacking_on_cluster, lacking_on_nodes, node_probe, versions
from onegen.build.work import Options, Work, check_committed, prepare
from onegen.build.workers import session
from onegen.config.bring import BRING
from onegen.config.recipe import Recipe, StageConfig, make_annotator, make_source
from onegen.errors import ConfigError
from onegen.executor.machine import count_cores, count_gpus
from onegen.sources import Source, bring_of
from onegen.storage.local import TEMPORARY
from onegen.storage.store import Store, explain

PACKAGES = ("ray", "torch", "transformers", "diffusers", "webdataset")
"""Packages of the extras, whose absence is no fault until something needs them."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what it is, what was found, and whether a build can do with that."""

    subject: str
    found: str
    is_well: bool = True


def examine(recipe: Recipe, store: Store, options: Options) -> Iterator[Check]:
    """Yield what a build of a recipe into a store needs, in the order in which it would need it.

    For `options.executor` ray a session is started or joined, and each of its nodes is asked.
    """
    yield Check("machine", _machine())
    yield Check("packages", ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    checks = list(_own_checks(recipe))
    yield from checks
    if all(check.is_well for check in checks):
        yield from _build_checks(recipe, store, options)
    else:
        yield Check("build", "steps, output and room are looked at once the above is there", is_well=False)


def _own_checks(recipe: Recipe) -> Iterator[Check]:
    """Yield what the recipe's parts need, each by itself."""
    yield _check("source", lambda: _listed(make_source(recipe.source)))
    if recipe.source.get(BRING):
        yield _check(BRING, lambda: _brought(make_source(recipe.source)))
    yield from _annotator_checks(tuple(recipe.stages))


def _annotator_checks(stages: tuple[StageConfig, ...]) -> Iterator[Check]:
    for name, options in itertools.chain.from_iterable(stage.annotators.items() for stage in stages):
        yield _check(f"annotator {name}", lambda n=name, o=options: _weights(n, o))  # type: ignore[misc]


def _build_checks(recipe: Recipe, store: Store, options: Options) -> Iterator[Check]:
    """Yield what the parts need together: the order of steps, OUT, and room for the workers."""
    try:
        work = prepare(recipe, store, options)
        yield Check("steps", ", ".join(step.name for step in work.steps))
        yield _check("output", lambda: _output(work))
        with session(work):
            yield from _room_checks(work)
    except ConfigError as error:
        yield Check("build", str(error), is_well=False)


def _room_checks(work: Work) -> Iterator[Check]:
    is_cluster = work.options.executor == "ray"
    for step in work.steps:
        lacking = lacking_on_cluster(step) if is_cluster else lacking_here(step)
        yield Check(f"room for {step.name}", lacking or "a worker fits", is_well=lacking is None)
    if is_cluster:
        for name, _, lacking in lacking_on_nodes(work, node_probe(work)):
            found = lacking or "sees the source, writes OUT, has all weights"
            yield Check(f"node {name}", found, is_well=lacking is None)


def _check(subject: str, look: Callable[[], str]) -> Check:
    try:
        return Check(subject, look())
    except ConfigError as error:
        return Check(subject, str(error), is_well=False)


def _machine() -> str:
    named = ", ".join(f"{name} {version}" for name, version in versions().items())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{named}; {count_cores()} core(s), {memory / 1e9:,.1f} GB of memory, {count_gpus()} GPU(s)"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _listed(source: Source) -> str:
    batches: Any = source.listing()
    if not any(batch.num_rows for batch in itertools.islice(batches, 1)):
        raise ConfigError(f"source must hold at least one image, got none in {source.root}. Check path and file types.")
    return f"{source.root} lists images"


def _brought(source: Source) -> str:
    entries = bring_of(source)
    for entry in entries.values():
        make_reader(entry)
    return f"columns {', '.join(entries)}"


def _weights(name: str, options: dict[str, Any]) -> str:
    column, annotator = make_annotator(name, options)
    weights = [f"{weight.name} {weight.revision}" for weight in annotator.weights()]
    return f"makes {column}: {', '.join(weights) or 'no weights'}"


def _output(work: Work) -> str:
    store, name = work.dataset.store, f"{TEMPORARY}/doctor-{uuid.uuid4().hex}"
    try:
        check_committed(work)
        store.write(name, b"")
        store.delete(name)
        free = store.free_bytes()
    except OSError as error:
        raise ConfigError(explain(error, store)) from error
    finally:
        for folder in (TEMPORARY, ""):
            store.remove_folder(folder)
    return f"{store.url} can be written" + ("" if free is None else f", {free / 1e9:,.1f} GB are free")
