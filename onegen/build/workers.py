"""The workers of a build's steps: how many there are, what kind they are, and the session they live in."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from onegen.build.probe import Nodes
from onegen.build.steps import Step
from onegen.build.work import Options, Work
from onegen.config.recipe import modules_of
from onegen.errors import ConfigError
from onegen.executor.contract import Job, Pool
from onegen.executor.local import InProcessPool, LocalPool
from onegen.executor.machine import count_cores, count_gpus

WORKERS_PER_CORE = 8


def num_workers(step: Step, options: Options) -> int | None:
    """Return how many workers a step gets: the command's word, else the recipe's, else as many as there is room for.

    None on a cluster with room for a number that changes. One machine takes no more than `most_workers`.
    """
    asked = workers_asked(step, options)
    if asked in (None, "auto"):
        return None if options.address is not None else _room_here(step)
    assert isinstance(asked, int)
    return asked if options.address is not None else min(asked, most_workers())


def workers_asked(step: Step, options: Options) -> int | Literal["auto"] | None:
    """Return how many workers the command or the recipe asks for; None where neither does."""
    return options.workers if options.workers is not None else step.workers


def most_workers() -> int:
    """Return how many workers this machine can take: more only wait for each other, and for memory."""
    return WORKERS_PER_CORE * count_cores()


def _room_here(step: Step) -> int:
    """Return how many workers the cores and GPUs of this machine have room for, one at least."""
    share = step.resources.num_gpus
    by_cores = max(1, int(count_cores() / max(1.0, step.resources.num_cpus)))
    return min(by_cores, max(1, int(count_gpus() / share))) if share else by_cores


@contextmanager
def session(work: Work) -> Iterator[None]:
    """Give the block what the workers live in: a Ray session, or this machine alone; raises ConfigError without Ray."""
    options = work.options
    if options.executor == "local":
        yield
        return
    try:
        from onegen.executor.ray import ray_session
    except ModuleNotFoundError as error:
        raise ConfigError("--executor ray needs Ray. Install it with: pip install 'onegen[ray]'.") from error
    cores = max(((num_workers(step, options) or 1) * step.resources.num_cpus for step in work.steps), default=1)
    with ray_session(options.address, cores, modules_of(work.recipe)):
        yield


def pool(step: Step, job: Job, work: Work, nodes: Nodes | None, note: Callable[[str], None]) -> Pool:
    """Return the pool that makes and ends the workers of a step; `note` is told of nodes that are left out."""
    options = work.options
    if options.workers == 0 or (options.workers is None and step.workers == 0):
        return InProcessPool(job)
    if options.executor == "ray":
        from onegen.executor.ray import RayPool

        question = nodes.question(step) if nodes is not None else None
        return RayPool(job, step.resources, question, nodes.able if nodes is not None else frozenset(), note)
    # The recipe's own word is a limit; what annotators declare is what Ray sets aside for them.
    memory = next((stage.memory for stage in work.recipe.stages if stage.name == step.name), None)
    return LocalPool(job, memory or 0)
