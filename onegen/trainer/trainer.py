"""The training run: examples to steps to checkpoints, the same under one process and under torchrun.

A step takes a fixed number of bins over all ranks; its gradient is that of the mean over the tokens of all of them, so
that neither the number of ranks nor how bins are shared out changes it, but for the order of sums.
"""

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from onegen.config.training import TrainConfig
from onegen.errors import ConfigError, Stopped
from onegen.loader.example import Example
from onegen.storage.whole import whole
from onegen.trainer import checkpoint
from onegen.trainer.batch import Batch, make_batch
from onegen.trainer.cost import Sizes, peak_flops, require_memory, training_flops
from onegen.trainer.cycle import cycle_metrics
from onegen.trainer.ema import Ema
from onegen.trainer.encoding import load_encoders
from onegen.trainer.export import export
from onegen.trainer.loss import LossLog, squared_errors, weighted_sum
from onegen.trainer.metrics import Metrics, told
from onegen.trainer.optimizers import make_optimizers, rate, set_rates
from onegen.trainer.parallelize import autocast, parallelize, without_sync
from onegen.trainer.parts import held_out, make_loader, make_network
from onegen.trainer.repa import Repa
from onegen.trainer.tread import Tread
from onegen.trainer.validate import draw, fixed_loss, grids, write_grids
from onegen.trainer.watch import Lines, Watch
from onegen.trainer.world import World, joined

CONFIG = "run.json"
OWN = ".launcher"
"""Folder below a run that is its launcher's, while that runs."""
_FREE = (
    *("steps", "log_every", "checkpoint_every", "keep"),
    *("validate_every", "validation_examples", "grid_examples", "grid_steps"),
)
"""What may change between two starts of one run: it changes no weight, but for `steps` of a schedule that ends."""


@dataclass
class Pace:
    """What went through since the last line of metrics."""

    started: float = field(default_factory=time.perf_counter)
    samples: int = 0
    tokens: int = 0
    flops: float = 0.0
    loss: float = 0.0
    norm: float = 0.0
    steps: int = 0
    waited: float = 0.0


def train(
    config: TrainConfig,
    data: Sequence[str],
    run: Path,
    *,
    workers: int = 0,
    device: str | None = None,
    say: Callable[[str], None] = print,
    watch: Watch | None = None,
) -> Path:
    """Train as a recipe says, from the latest checkpoint in `run` where there is one; return the exported model.

    `watch` is told how it goes; without one, `say` is told in lines.
    Raises ConfigError for what does not go together, and Stopped for a loss that is not finite or a full disk: the last
    checkpoint stays.
    """
    with joined(device) as world:
        return Trainer(config, data, run, world, workers, watch or Lines(say)).run()


class Trainer:
    """A run on one rank."""

    def __init__(
        self,
        config: TrainConfig,
        data: Sequence[str],
        run: Path,
        world: World,
        workers: int,
        watch: Watch,
    ) -> None:
        self.config, self.data, self.folder, self.world, self._watch = config, list(data), run, world, watch
        _check_run(config.model_dump(mode="json"), run)
        world.wait()
        if world.is_first:
            pin(config, run)
        torch.manual_seed(config.seed)
        self.encoders = load_encoders(config.encoders, world.device)
        self.network: Any = make_network(config, self.encoders)
        self.sizes = Sizes.of(self.network)
        require_memory(config, self.network, self.sizes, world.device, world.size)
        # Routing before alignment: behind the last routed block, all tokens are there again.
        self.tread = Tread(self.network, config.tread) if config.tread else None
        self.repa = Repa(self.network, config.repa) if config.repa else None
        nn.Module.to(self.network, world.device)
        self.loader = make_loader(config, self.data, self.encoders.factor, world, workers)
        self._called = parallelize(self.network, config, world)
        self.ema = Ema(self.network, config.ema.decay, config.ema.ramp)
        self.optimizers = make_optimizers(self.network, config.optimizer)
        self.log = LossLog()
        self.step = self.tokens = 0
        self._peak = 0.0
        self._held: list[Example] | None = None
        self._spare: Batch | None = None

    def run(self) -> Path:
        """Train to the last step."""
        self._resume()
        self._peak = peak_flops(self.world.device) * self.world.size
        metrics = Metrics(self.folder, self.step) if self.world.is_first else None
        pace = Pace()
        with closing(self.loader):
            for bins in self._steps():
                self._take(bins, pace)
                self._watch.step(self.step, self.config.steps)
                if self.step % self.config.log_every == 0 or self.step == self.config.steps:
                    self._tell(pace, metrics)
                    pace = Pace(waited=self.loader.waited)
                began = time.perf_counter()
                if self._is_due(self.config.validate_every):
                    self._validate(metrics)
                if self._is_due(self.config.checkpoint_every):
                    self._save()
                # What is neither reading nor training is no part of the pace.
                pace.started += time.perf_counter() - began
        if metrics is not None:
            metrics.close()
        return export(self.folder, self.network, self.ema, self.encoders, self.config, self.world)

    def _steps(self) -> Iterator[list[list[Example]]]:
        while self.step < self.config.steps:
            for bins in self.loader:
                yield bins
                if self.step >= self.config.steps:
                    return

    def _is_due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.config.steps

    def _take(self, bins: Sequence[Sequence[Example]], pace: Pace) -> None:
        """Take one optimiser step over this rank's bins."""
        config, world = self.config, self.world
        batches = [make_batch(bin_, self.encoders, config.noise) for bin_ in bins if bin_]
        own = len(batches)
        counted = world.total(float(sum(batch.num_weighted for batch in batches)))
        batches += self._fillers(batches, world.most(own))
        set_rates(self.optimizers, rate(self.step, config.steps, config.optimizer), config.optimizer)
        losses: list[float] = []
        for number, batch in enumerate(batches):
            if self.tread is not None:
                self.tread.route(batch)
            with without_sync(self._called, number == len(batches) - 1):
                with autocast(config, world):
                    errors = squared_errors(self._called, batch, config.network.prediction)
                # DDP and FSDP2 take the mean over ranks; ours is a sum over all of them.
                summed = weighted_sum(errors, batch)
                wanted = summed if self.repa is None else summed + self.repa.loss(batch, self.step)
                share = world.size / max(1.0, counted)
                loss = wanted * share
                loss = loss if number < own else 0.0 * loss
                loss.backward()  # type: ignore[no-untyped-call]
            if number >= own:
                continue
            # What is told, and what must be finite, is the loss of the velocity: that of other recipes too.
            losses.append(float((summed * share).detach()) / world.size)
            self.log.add(errors, batch)
            self._count(batch, pace)
        loss_of_all = world.total(sum(losses))
        norm = float(_full(nn.utils.clip_grad_norm_(self._trained(), config.optimizer.clip)))
        if not (math.isfinite(loss_of_all) and math.isfinite(norm)):
            self._stop(batches[:own], losses, norm)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.ema.update()
        self.step += 1
        pace.loss, pace.norm, pace.steps = pace.loss + loss_of_all, pace.norm + norm, pace.steps + 1

    def _fillers(self, batches: Sequence[Batch], count: int) -> list[Batch]:
        """Return batches without weight up to `count`: ranks that share a network must call it equally often."""
        missing = count - len(batches)
        if batches:
            self._spare = batches[0]
        if missing and self._spare is None:
            raise ConfigError("every rank must have an example in its first step, got none. Lower data.bins.")
        return [self._spare] * missing if self._spare is not None else []

    def _trained(self) -> list[nn.Parameter]:
        return [weight for weight in self.network.parameters() if weight.requires_grad]

    def _count(self, batch: Batch, pace: Pace) -> None:
        pace.samples += len(batch.examples)
        pace.tokens += batch.layout.num_tokens
        self.tokens += batch.layout.num_tokens
        if self.tread is not None:
            pace.flops += self.tread.flops(self.sizes, batch)
            return
        lengths = [int(count) for count in batch.mask.sum(1)]
        pace.flops += training_flops(self.sizes, batch.layout, lengths)

    def _stop(self, batches: Sequence[Batch], losses: Sequence[float], norm: float) -> None:
        """Raise Stopped, naming the samples of the bins whose loss is at fault, of all bins where it is none's."""
        spoiled = [batch for batch, loss in zip(batches, losses, strict=True) if not math.isfinite(loss)] or batches
        keys = [f"{example.dataset}/{example.key}" for batch in spoiled for example in batch.examples]
        latest = [path.name for path in checkpoint.checkpoints(self.folder)][-1:]
        kept = f"the last good checkpoint is {latest[0]}" if latest else "there is no checkpoint yet"
        raise Stopped(
            f"loss must be finite, got loss {sum(losses):g} and gradient norm {norm:g} at step {self.step + 1}, of "
            f"{', '.join(keys[:8])}{' and more' if len(keys) > 8 else ''}; {kept}. Lower optimizer.lr or clip, or look "
            f"at these samples."
        )

    def _tell(self, pace: Pace, metrics: Metrics | None) -> None:
        """Write a line of metrics over the steps since the last."""
        seconds = max(1e-9, time.perf_counter() - pace.started)
        samples, tokens, flops = (self.world.total(n) for n in (pace.samples, pace.tokens, pace.flops))
        numbers = {
            "loss": pace.loss / max(1, pace.steps),
            "gradient_norm": pace.norm / max(1, pace.steps),
            "rate": rate(self.step - 1, self.config.steps, self.config.optimizer),
            "samples_per_second": samples / seconds,
            "tokens_per_second": tokens / seconds,
            "mfu": flops / seconds / self._peak if self._peak else 0.0,
            "waited": (self.loader.waited - pace.waited) / seconds,
            "eta_seconds": (self.config.steps - self.step) * seconds / max(1, pace.steps),
            "bad_samples": float(self.loader.bad.total()),
            **self.log.take(),
        }
        if metrics is not None:
            metrics.write(self.step, numbers)
            line = told(self.step, self.config.steps, numbers)
            self._watch.numbers(self.step, self.config.steps, numbers, line)

    def _validate(self, metrics: Metrics | None) -> None:
        """Tell the loss of the averaged weights on fixed noise, and draw samples."""
        examples = self._held_out()
        if not examples:
            return
        self.network.eval()
        with self.ema.swapped():
            numbers = fixed_loss(self.network, examples, self.encoders, self.config)
            drawn = draw(self.network, examples, self.encoders, self.config) if self.config.grid_examples else []
        self.network.train()
        if metrics is not None:
            numbers |= cycle_metrics(drawn)
            metrics.write(self.step, numbers)
            pictures = grids(drawn)
            write_grids(self.folder, self.step, pictures)
            for name, pixels in pictures.items():
                metrics.picture(f"samples/{name}", pixels, self.step)
            line = f"step {self.step:,}: validation loss {numbers['validation/loss']:.4f}"
            self._watch.numbers(self.step, self.config.steps, numbers, line)

    def _held_out(self) -> list[Example]:
        """Return the examples of validation, read once and the same on every rank."""
        if self._held is None:
            self._held = held_out(self.config, self.data, self.encoders.factor)
            if not self._held and self.config.validation_examples:
                self._watch.note("no sample falls into the validation split: there is no validation loss")
        return self._held

    def _save(self) -> None:
        facts = {
            "step": self.step,
            "tokens": self.tokens,
            "ema_updates": self.ema.updates,
            "loader": self.loader.state_dict(),
            "config": self.config.model_dump(mode="json"),
            "world": self.world.size,
        }
        saved = checkpoint.save(
            self.folder, self.network, self.ema, self.optimizers, facts, self.world, self.config.keep
        )
        if self.step < self.config.steps:
            export(self.folder, self.network, self.ema, self.encoders, self.config, self.world)
        if self.world.is_first:
            self._watch.note(f"wrote {saved}")

    def _resume(self) -> None:
        """Take up the latest checkpoint, where there is one."""
        found = checkpoint.checkpoints(self.folder)
        if not found:
            return
        facts = checkpoint.load(found[-1], self.network, self.ema, self.optimizers, self.world)
        try:
            self.loader.load_state_dict(facts["loader"])
        except ConfigError as error:
            raise ConfigError(
                f"run must go on with the data that it began with, and {self.folder} began with other: "
                f"{str(error).partition('. ')[0]}. Put it back, or train into another --out, with `start: "
                f"{self.folder}/model`."
            ) from error
        self.step, self.tokens = int(facts["step"]), int(facts["tokens"])
        if self.world.is_first:
            self._watch.note(f"going on from {found[-1]}")


def pin(config: TrainConfig, run: Path) -> None:
    """Write the recipe into the run's folder; raises ConfigError where another one, or something else, began it."""
    described = config.model_dump(mode="json")
    _check_run(described, run)
    run.mkdir(parents=True, exist_ok=True)
    with whole(run / CONFIG) as part:
        part.write_text(json.dumps(described, indent=1), encoding="utf-8")


def _check_run(described: Mapping[str, Any], run: Path) -> None:
    path = run / CONFIG
    if path.exists():
        _refuse_changes(json.loads(path.read_text(encoding="utf-8")), described, run)
    elif run.is_dir() and any(run.iterdir()):
        raise ConfigError(f"--out must be empty or the folder of a run, got {run}, which holds other files.")


def _refuse_changes(before: Mapping[str, Any], after: Mapping[str, Any], run: Path) -> None:
    # A field that came after the run began has its default there.
    with contextlib.suppress(ValidationError):
        before = TrainConfig.model_validate(before).model_dump(mode="json")
    ends = after["optimizer"]["schedule"] != "constant"
    free = [name for name in _FREE if not (name == "steps" and ends)]
    changed = [
        f"{name}: {before.get(name)!r} -> {after[name]!r}"
        for name in after
        if name not in free and before.get(name) != after[name]
    ]
    if changed:
        raise ConfigError(
            f"run must go on as it began, and {run} began with another recipe: {'; '.join(changed)}. Put it back, or "
            f"train into another --out."
        )


def _full(norm: torch.Tensor) -> torch.Tensor:
    """Return a norm as one number; that of sharded weights is gathered."""
    gathered: torch.Tensor = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
    return gathered
