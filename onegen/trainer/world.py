"""The ranks of a run: who this process is, and what all of them add up."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True, slots=True)
class World:
    """This process among those of the run."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this rank writes what one alone must write."""
        return self.rank == 0

    def total(self, number: float) -> float:
        """Return the sum of a number over all ranks."""
        if self.size == 1:
            return number
        tensor = torch.tensor(number, dtype=torch.float64, device=self._meeting)
        dist.all_reduce(tensor)
        return float(tensor)

    def most(self, number: int) -> int:
        """Return the largest of a number over all ranks."""
        if self.size == 1:
            return number
        tensor = torch.tensor(number, device=self._meeting)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return int(tensor)

    def wait(self) -> None:
        """Wait until all ranks are here."""
        if self.size > 1:
            dist.barrier()

    @property
    def _meeting(self) -> torch.device:
        return self.device if dist.get_backend() == "nccl" else torch.device("cpu")


@contextlib.contextmanager
def joined(device: str | None = None) -> Iterator[World]:
    """Give this process's place: what torchrun or Ray Train has set up, or a world of one.

    `device` is cpu or cuda; None takes the GPU where there is one.
    """
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(0, 1, torch.device(kind))
        return
    own = torch.device(kind, int(os.environ.get("LOCAL_RANK", "0"))) if kind == "cuda" else torch.device(kind)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    is_ours = not dist.is_initialized()
    if is_ours:
        dist.init_process_group("nccl" if own.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), own)
    finally:
        if is_ours:
            dist.destroy_process_group()
