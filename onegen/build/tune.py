"""What each stage of a recipe costs on this machine, and the batch size, GPU share and workers to give it.

A sample of the source is built into a scratch folder by one worker a stage; then each stage alone is run again with
other batch sizes, and on a GPU with more threads, as long as that helps. Measured is what manifests say of their runs,
after a first shard that warms up. docs/build.md.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from onegen.build.build import build
from onegen.build.steps import Step
from onegen.build.work import Options, Work, prepare
from onegen.config.recipe import PACK, Recipe, StageConfig
from onegen.errors import ConfigError
from onegen.executor.machine import count_cores, count_gpus, gpu_bytes
from onegen.sample import IMAGE
from onegen.shards.dataset import Dataset
from onegen.shards.manifest import Manifest
from onegen.shards.run import Pace
from onegen.storage.store import Store

_GAIN = 1.05
"""A setting must be so much faster to be taken: a larger batch holds more memory, and a thread a core."""
_BUSY = 0.95
"""A device that is at work for this part of the time wants no more threads."""
_HEADROOM = 1.15
"""GPU memory is asked for with so much to spare: the sample may not have the largest pictures."""
_SHARES = (1, 2, 3, 4, 6, 8)
"""How many workers may share a GPU."""
_MOST_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Setting:
    """How a stage is run: items at once, and the cores of a worker."""

    batch_size: int
    num_cpus: float


@dataclass(frozen=True, slots=True)
class Trial:
    """A stage as it ran with a setting: rows a second of one worker, its busy part, and the most memory it held."""

    setting: Setting
    rate: float
    busy_share: float
    peak_rss: int
    peak_gpu: int
    is_halved: bool = False


@dataclass(frozen=True, slots=True)
class Advice:
    """What to give a step, from its trials: `best` is one of them.

    `rows` are those that the whole source would give it; `num_gpus` is the share of a GPU that a worker needs, 0 for a
    step on CPUs; `workers` how many fit on this machine.
    """

    step: str
    trials: tuple[Trial, ...]
    best: Trial
    rows: int
    num_gpus: float
    workers: int

    @property
    def worker_hours(self) -> float:
        """Hours that one worker would take for the whole source."""
        return self.rows / self.best.rate / 3600 if self.best.rate else math.inf

    @property
    def hours(self) -> float:
        """Hours that this machine would take."""
        return self.worker_hours / self.workers

    @property
    def gpu_hours(self) -> float:
        """GPU-hours for the whole source; 0 for a step on CPUs."""
        return self.worker_hours * self.num_gpus

    @property
    def core_hours(self) -> float:
        """Core-hours for the whole source."""
        return self.worker_hours * self.best.setting.num_cpus


class _Deaf:
    """A listener of builds whose progress nobody reads."""

    def note(self, text: str) -> None: ...

    def plan(self, steps: Sequence[str], shards: int) -> None: ...

    def begin(self, step: str, shards: int, done: int) -> None: ...

    def committed(self, step: str, manifest: Manifest) -> None: ...

    def waiting(self, step: str, workers: Any) -> None: ...

    def end(self, step: str) -> None: ...


def tune(
    recipe: Recipe, store: Store, sample: int, items: int | None, report: Callable[[str], None]
) -> Iterator[Advice]:
    """Yield advice for each step that works on rows, in order.

    `store` is a scratch folder, `sample` the items to build, `items` those of the whole source, counted where it is
    None; `report` hears what is measured. Raises ConfigError as a build does, and where the sample ends without rows.
    """
    # Two shards: what a worker does first, such as a compiler's work, is no part of its pace.
    trial = recipe.model_copy(update={"samples_per_shard": max(1, sample // 2)})
    options = Options(workers=1, limit=sample)
    report(f"building {sample:,} items once")
    build(trial, store, options, _Deaf())
    work = prepare(trial, store, options)
    planned = work.dataset.require_card().plan.items
    total = items if items is not None else _count(work)
    by_name = {stage.name: stage for stage in recipe.stages}
    for step in work.steps:
        if step.name not in {*by_name, IMAGE, PACK}:
            continue
        stage = by_name.get(step.name)
        trials = [_measured(work.dataset, step, _setting_of(step, stage))]
        if stage is not None:
            trials += _tried(trial, store, step, stage, trials[0], report)
        rows = round(total * _computed(work.dataset, step) / planned)
        yield _advice(step, trials, rows)


def _count(work: Work) -> int:
    return sum(batch.num_rows for batch in work.source.listing())


def _setting_of(step: Step, stage: StageConfig | None) -> Setting:
    return Setting(stage.batch_size if stage is not None else 0, step.resources.num_cpus)


def _tried(
    recipe: Recipe, store: Store, step: Step, stage: StageConfig, first: Trial, report: Callable[[str], None]
) -> Iterator[Trial]:
    """Yield trials of larger batches, then of more threads where a GPU waits, as long as one is faster."""
    best, size = first, stage.batch_size
    sample = recipe.samples_per_shard
    while size * 2 <= min(_MOST_BATCH, max(sample, 2)) and not best.is_halved:
        size *= 2
        trial = _run(recipe, store, step, stage, replace(best.setting, batch_size=size), report)
        yield trial
        if trial.rate < best.rate * _GAIN:
            break
        best = trial
    cores = best.setting.num_cpus or 1.0
    while best.peak_gpu and best.busy_share < _BUSY and cores * 2 <= count_cores():
        cores *= 2
        trial = _run(recipe, store, step, stage, replace(best.setting, num_cpus=cores), report)
        yield trial
        if trial.rate < best.rate * _GAIN:
            break
        best = trial


def _run(
    recipe: Recipe, store: Store, step: Step, stage: StageConfig, setting: Setting, report: Callable[[str], None]
) -> Trial:
    """Run one stage again with a setting, and return how that went."""
    report(f"{stage.name}: batches of {setting.batch_size:,} on {setting.num_cpus:g} core(s)")
    changed = {"batch_size": setting.batch_size, "num_cpus": setting.num_cpus}
    stages = [other.model_copy(update=changed) if other.name == stage.name else other for other in recipe.stages]
    build(
        recipe.model_copy(update={"stages": stages}),
        store,
        Options(workers=1, only=(stage.name,), recompute=(stage.name,)),
        _Deaf(),
    )
    return _measured(Dataset(store), step, setting)


def _measured(dataset: Dataset, step: Step, setting: Setting) -> Trial:
    """Return how the last run of a step went, its first shard left out where there are others."""
    paces: list[Pace] = []
    for column in step.columns:
        # Columns of a stage are made together: each has the seconds of all.
        pace = Pace()
        for manifest in list(dataset.manifests(column))[1 if len(dataset.shards(column)) > 1 else 0 :]:
            pace.add(manifest.run)
        paces.append(pace)
    seconds, rows = max(pace.seconds for pace in paces), max(pace.computed for pace in paces)
    if not rows or not seconds:
        raise ConfigError(
            f"a sample must leave rows for every step, got none for {step.name!r}. Take more: --sample 256."
        )
    busy = sum(pace.busy_seconds for pace in paces) / seconds
    peak_rss, peak_gpu = max(pace.peak_rss for pace in paces), max(pace.peak_gpu for pace in paces)
    return Trial(setting, rows / seconds, min(1.0, busy), peak_rss, peak_gpu, any(pace.halvings for pace in paces))


def _computed(dataset: Dataset, step: Step) -> int:
    """Return how many rows of the sample a step computed."""
    return max(sum(manifest.run.computed for manifest in dataset.manifests(column)) for column in step.columns)


def _advice(step: Step, trials: Sequence[Trial], rows: int) -> Advice:
    best = trials[0]
    for trial in trials[1:]:
        if trial.rate >= best.rate * _GAIN and not trial.is_halved:
            best = trial
    share = _share(best) if best.peak_gpu else 0.0
    by_cores = max(1, int(count_cores() / max(best.setting.num_cpus, 1.0)))
    workers = max(1, min(by_cores, int(count_gpus() / share + 1e-9))) if share else by_cores
    return Advice(step.name, tuple(trials), best, rows, share, workers)


def _share(trial: Trial) -> float:
    """Return the largest usual share of a GPU that others leave room for: by memory, and by how long it is at work."""
    needed = max(_HEADROOM * trial.peak_gpu / max(gpu_bytes(), 1), trial.busy_share)
    return 1 / max(count for count in _SHARES if count == 1 or 1 / count >= needed)
