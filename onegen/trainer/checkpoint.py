"""Checkpoints: weights, average, optimiser, loader, chance and step, whole or not there at all.

    RUN/checkpoints/step-00001000/       DCP files of all ranks, run.json, random-RANK.pt
    RUN/model/                           the latest averaged weights in the layout that `onegen sample` opens

A checkpoint is written beside its name and moved there when every rank is done; one that was broken off keeps its other
name, and the next one sweeps it. It resumes at any number of ranks.
"""

import contextlib
import errno
import json
import random
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

from onegen import __version__
from onegen.errors import ConfigError, Stopped
from onegen.trainer.ema import Ema
from onegen.trainer.world import World

FOLDER = "checkpoints"
_NAME = re.compile(r"step-(\d{8})")
_RUN = "run.json"
_FULL = 1 << 20
"""Bytes free below which a disk is full."""


def name_of(step: int) -> str:
    """Return the name of the checkpoint after so many steps."""
    return f"step-{step:08d}"


def checkpoints(run: Path) -> list[Path]:
    """Return the whole checkpoints of a run, the latest last."""
    folder = run / FOLDER
    found = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name)) if folder.is_dir() else []
    return [path for path in found if (path / _RUN).is_file()]


def save(
    run: Path,
    network: nn.Module,
    ema: Ema,
    optimizers: Sequence[torch.optim.Optimizer],
    facts: Mapping[str, Any],
    world: World,
    keep: int,
) -> Path:
    """Write a checkpoint of all ranks and return it; only the last `keep` stay.

    `facts` go into run.json, `step` among them. Raises Stopped where the disk does not take it: the last one stays.
    """
    target = run / FOLDER / name_of(int(facts["step"]))
    part = target.with_name(f".part-{target.name}")
    try:
        if world.is_first:
            for left in (run / FOLDER).glob(".part-*"):
                shutil.rmtree(left)
            part.mkdir(parents=True)
        world.wait()
        with _quiet():
            state_dict_saver.save(_state(network, ema, optimizers), checkpoint_id=str(part), no_dist=world.size == 1)
        torch.save(_chance(world), part / f"random-{world.rank}.pt")
        world.wait()
        if world.is_first:
            (part / _RUN).write_text(json.dumps({**facts, "version": __version__}, indent=1), encoding="utf-8")
            if target.exists():
                shutil.rmtree(target)
            part.rename(target)
            for old in checkpoints(run)[:-keep]:
                shutil.rmtree(old)
    except (OSError, CheckpointException) as error:
        raise Stopped(_explained(target, error)) from error
    world.wait()
    return target


def _explained(target: Path, error: BaseException) -> str:
    causes = _causes(error)
    # torch's own writer says nothing of a full disk but that a file ended early.
    is_full = shutil.disk_usage(target.parent).free < _FULL or any(
        "No space left" in str(cause) or getattr(cause, "errno", 0) == errno.ENOSPC for cause in causes
    )
    reason = "the disk is full" if is_full else _last_line(causes[-1])
    return f"{target} could not be written: {reason}. The checkpoint before it is whole; the same command goes on."


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Say nothing of a run in one process that it is one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and what it stands for: DCP keeps, by rank, what went wrong with its stack."""
    failures = (getattr(error, "failures", None) or {}).values()
    return [error, *(failure[0] if isinstance(failure, tuple) else failure for failure in failures)]


def _last_line(error: BaseException) -> str:
    return next(reversed(str(error).strip().splitlines()), type(error).__name__)


def load(
    path: Path, network: nn.Module, ema: Ema, optimizers: Sequence[torch.optim.Optimizer], world: World
) -> dict[str, Any]:
    """Take up a checkpoint and return its facts; raises ConfigError where it does not read or is of other weights."""
    state = _state(network, ema, optimizers)
    try:
        facts = json.loads((path / _RUN).read_text(encoding="utf-8"))
        with _quiet():
            state_dict_loader.load(state, checkpoint_id=str(path), no_dist=world.size == 1)
    except (OSError, ValueError, KeyError, RuntimeError, CheckpointException) as error:
        raise ConfigError(
            f"checkpoint must be whole and of this network, got {path}: {_last_line(_causes(error)[-1])}. Remove it to "
            f"go on from the one before."
        ) from error
    set_state_dict(
        network, list(optimizers), model_state_dict=state["model"], optim_state_dict=state["optimizer"], options=_PARTS
    )
    ema.load(state["ema"], int(facts["ema_updates"]))
    _take_chance(path, world)
    return dict(facts)


_PARTS = StateDictOptions(ignore_frozen_params=True, strict=False)
"""Weights that do not move, those below LoRA, are in the model that training started from."""


def _state(network: nn.Module, ema: Ema, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Any]:
    model, optimizer = get_state_dict(network, list(optimizers), options=_PARTS)
    return {"model": model, "optimizer": optimizer, "ema": dict(ema.shadow)}


def _chance(world: World) -> dict[str, Any]:
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(),
        "python": random.getstate(),
    }
    if world.device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(world.device)
    return state


def _take_chance(path: Path, world: World) -> None:
    """Take up the sources of chance of this rank; one that the checkpoint had none for keeps its own."""
    file = path / f"random-{world.rank}.pt"
    if not file.is_file():
        return
    state = torch.load(file, weights_only=False)
    torch.set_rng_state(state["torch"])
    np.random.set_state(state["numpy"])
    random.setstate(state["python"])
    if "cuda" in state and world.device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], world.device)
