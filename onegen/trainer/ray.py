"""A run whose ranks Ray Train starts: `onegen train RECIPE --workers 8 --address RAY --data DATASET --out RUN`.

Ray places processes, joins them and tells where one broke; every rank then calls `train` as under torchrun. Data and
checkpoints stay ours: the loader's order is exact, a checkpoint is whole or not there, and either launcher goes on with
a run of the other. RUN and the datasets must be reachable by one name from every node.
"""

import contextlib
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError, WorkerGroupError
from ray.util.queue import Queue

from onegen.config.training import TrainConfig
from onegen.errors import ConfigError, Stopped
from onegen.executor.ray import ray_session
from onegen.executor.worker import THREAD_SETTINGS
from onegen.trainer.export import MODEL
from onegen.trainer.trainer import OWN, pin, train
from onegen.trainer.watch import Lines, Watch


def train_on_ray(
    config: TrainConfig,
    data: Sequence[str],
    run: Path,
    *,
    ranks: int,
    address: str | None,
    workers: int = 0,
    device: str | None = None,
    watch: Watch,
) -> Path:
    """Train on `ranks` processes of a Ray cluster, or of a Ray on this machine without `address`.

    `workers` are those of the loader, a rank. Raises ConfigError and Stopped as `train` does, ConfigError for an
    address where no cluster is or one that is too small, and Stopped for a rank that died: the same command goes on.
    """
    run = run.absolute()
    with ray_session(address, ranks):
        is_gpu = _on_gpu(device, ranks)
        pin(config, run)
        lines = Queue(actor_options={"num_cpus": 0})
        teller = threading.Thread(target=_tell, args=(lines, watch), daemon=True)
        teller.start()
        parts = {
            "config": config,
            "data": list(data),
            "run": run,
            "workers": workers,
            "device": "cuda" if is_gpu else "cpu",
            "folder": os.getcwd(),
            "lines": lines,
        }
        storage = run / OWN
        try:
            TorchTrainer(
                _rank,
                train_loop_config=parts,
                scaling_config=ScalingConfig(num_workers=ranks, use_gpu=is_gpu),
                # Ray Train must have a folder of its own, though no checkpoint goes there.
                run_config=RunConfig(name="ranks", storage_path=str(storage)),
            ).fit()
        except TrainingFailedError as error:
            raise _cause(error) from error
        finally:
            # Where Ray itself went down, there is nobody to be told.
            with contextlib.suppress(RayError):
                lines.put(None)
                teller.join()
                lines.shutdown(force=True)
            shutil.rmtree(storage, ignore_errors=True)
    return run / MODEL


def _on_gpu(device: str | None, ranks: int) -> bool:
    """Return whether ranks take a GPU each; raises ConfigError where the cluster has not as many as there are ranks."""
    there = ray.cluster_resources()  # type: ignore[no-untyped-call]
    is_gpu = device == "cuda" or (device is None and there.get("GPU", 0) > 0)
    kind = "GPU" if is_gpu else "CPU"
    if there.get(kind, 0) < ranks:
        # Ray would wait for the missing ones without an end.
        raise ConfigError(
            f"--workers must be at most the {kind}s of the Ray cluster, got {ranks} for {there.get(kind, 0):g}. "
            f"Ask for fewer, or add nodes."
        )
    return is_gpu


def _rank(parts: Mapping[str, Any]) -> None:
    """Train on one rank, in a process of Ray's."""
    import torch

    # Ray starts its processes where the node was started; paths of a recipe start from where the command was.
    if os.path.isdir(parts["folder"]):
        os.chdir(parts["folder"])
    os.environ.update(THREAD_SETTINGS)
    torch.set_num_threads(1)
    is_first = ray.train.get_context().get_world_rank() == 0
    watch = _Sent(parts["lines"]) if is_first else Lines(lambda line: None)
    train(parts["config"], parts["data"], parts["run"], workers=parts["workers"], device=parts["device"], watch=watch)


@dataclass(frozen=True, slots=True)
class _Sent:
    """What the first rank tells, sent to the driver."""

    queue: Queue

    def note(self, line: str) -> None:
        self.queue.put(("note", (line,)))

    def step(self, step: int, steps: int) -> None:
        """Send nothing: a message a step would be more than the numbers of many."""

    def numbers(self, step: int, steps: int, numbers: Mapping[str, float], line: str) -> None:
        self.queue.put(("numbers", (step, steps, dict(numbers), line)))


def _tell(lines: Queue, watch: Watch) -> None:
    """Tell what the first rank sends until there is no more."""
    try:
        while (sent := lines.get()) is not None:
            kind, told = sent
            getattr(watch, kind)(*told)
    except RayError:
        # Ray went down, and what started it tells why.
        return


def _cause(error: TrainingFailedError) -> Exception:
    """Return what to raise for a run that Ray Train gave up: what a rank raised of ours, else that one died."""
    causes = list(error.worker_failures.values()) if isinstance(error, WorkerGroupError) else []
    if isinstance(error, ControllerError):
        causes = [error.controller_failure]
    found = [cause for failure in causes for cause in _chain(failure)]
    # Where one rank breaks, the others fail for want of it.
    for kind in (ConfigError, Stopped):
        for cause in found:
            if isinstance(cause, kind):
                return kind(str(cause))
    last = str(found[-1] if found else error).strip().splitlines()[-1]
    return Stopped(f"a rank broke: {last}. The last checkpoint is whole; the same command goes on.")


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return an error and those that it came from."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = getattr(error, "_base_exc", None) or getattr(error, "cause", None) or error.__cause__
    return chain
