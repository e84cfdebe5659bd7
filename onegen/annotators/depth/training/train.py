"""Train the depth head on made-up scenes and write it as an ONNX graph.

    python -m onegen.annotators.depth.training.train WORK depth_head.onnx [--scenes N] [--epochs N]

WORK keeps the tokens of the scenes (0.8 MB each, 1 GB in all), so that a broken run goes on where it stopped; they
depend on scenes.py and its like, so a changed one asks for another folder. Needs torch. A new head needs its hash in
onegen/weights/table.py.
"""

import argparse
import hashlib
import math
import multiprocessing
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onegen.annotators.depth.embedded import head_input
from onegen.annotators.depth.training.materials import materials
from onegen.annotators.depth.training.scenes import scene

if TYPE_CHECKING:
    import torch

_CHUNK, _BATCH, _RATE = 25, 16, 2e-3


def make_chunks(folder: Path, scenes: int, first: int, step: int) -> None:
    """Write the tokens and inverse depths of every `step`-th chunk of scenes that is not there, from `first` on."""
    material = materials(held_out=False)
    for chunk in range(first, math.ceil(scenes / _CHUNK), step):
        path = folder / f"{chunk:04d}.npz"
        if path.exists():
            continue
        views = [scene(seed, material) for seed in range(chunk * _CHUNK, (chunk + 1) * _CHUNK)]
        tokens = np.concatenate([head_input(view.picture) for view in views]).astype(np.float16)
        part = folder / f"{chunk:04d}.part.npz"
        np.savez(part, tokens=tokens, inverse_depth=np.stack([view.inverse_depth for view in views]))
        part.rename(path)
        print(f"{path.name}: {len(views)} scenes", flush=True)


def train(work: Path, scenes: int, epochs: int) -> bytes:
    """Return the trained head as ONNX; the same chunks on the same machine give the same bytes."""
    import torch

    from onegen.annotators.depth.training.head import Head, to_onnx

    torch.manual_seed(0)
    torch.set_num_threads(1)  # so that sums are taken in one order; the head is too small to gain by more
    chunks = [np.load(work / f"{chunk:04d}.npz") for chunk in range(math.ceil(scenes / _CHUNK))]
    tokens = torch.from_numpy(np.concatenate([chunk["tokens"] for chunk in chunks]))
    truth = torch.from_numpy(np.concatenate([chunk["inverse_depth"] for chunk in chunks]))
    kept = truth.flatten(1).std(dim=1) > 1e-3  # a flat scene has no scale to learn
    tokens, truth = tokens[kept], truth[kept]
    head = Head()
    steps = epochs * (len(truth) // _BATCH)
    optimiser = torch.optim.AdamW(head.parameters(), lr=_RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps)
    started = time.monotonic()
    for epoch in range(epochs):
        total = 0.0
        order = torch.randperm(len(truth))
        for start in range(0, len(truth) - _BATCH + 1, _BATCH):
            chosen = order[start : start + _BATCH]
            loss = _loss(head(tokens[chosen].float(), drop=0.1)[:, 0], truth[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        mean = total / (len(truth) // _BATCH)
        print(f"epoch {epoch + 1} of {epochs}: loss {mean:.4f}, {time.monotonic() - started:.0f} s", flush=True)
    return to_onnx(head)


def _loss(predicted: "torch.Tensor", truth: "torch.Tensor") -> "torch.Tensor":
    """Return the scale- and shift-free error of maps (B,64,64) and of their gradients, as MiDaS trains (2019)."""
    import torch

    def standard(map_: torch.Tensor) -> torch.Tensor:
        flat = map_.flatten(1)
        centred = flat - flat.median(dim=1, keepdim=True).values
        return (centred / centred.abs().mean(dim=1, keepdim=True).clamp_min(1e-4)).view_as(map_)

    error = standard(predicted) - standard(truth)
    loss = error.abs().clamp_max(4.0).mean()
    for step in (1, 2, 4):
        coarse = error[:, ::step, ::step]
        loss = loss + 0.25 * (coarse.diff(dim=1).abs().mean() + coarse.diff(dim=2).abs().mean())
    return loss


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m onegen.annotators.depth.training.train", description="Train the depth head."
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--scenes", type=int, default=1250)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=make_chunks, args=(options.work, options.scenes, i, 2)) for i in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        return 1
    data = train(options.work, options.scenes, options.epochs)
    options.output.write_bytes(data)
    print(f"{options.output}: {len(data) / 1e6:.2f} MB, SHA-256 {hashlib.sha256(data).hexdigest()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
