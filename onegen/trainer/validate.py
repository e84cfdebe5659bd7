"""Validation of the averaged weights on keys that are never trained on: the loss on fixed noise, grids of samples."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from onegen.config.training import TrainConfig
from onegen.loader.example import Example
from onegen.tasks.table import TASKS
from onegen.trainer.batch import conditions_of, make_batch
from onegen.trainer.cycle import Drawn
from onegen.trainer.encoding import Encoders
from onegen.trainer.export import make_pipeline
from onegen.trainer.loss import squared_errors

SIGMAS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""The noise levels of the fixed grid."""
_GAP, _PAGE = 4, 240


def fixed_loss(
    network: nn.Module, examples: Sequence[Example], encoders: Encoders, config: TrainConfig
) -> dict[str, float]:
    """Return the mean squared error of the velocity over a fixed grid of noise levels: by task, by level, over all.

    Each example is asked at each level with the same noise, its own, at every validation: two numbers differ by the
    weights alone. A network that answers data is asked for a velocity too, and errs most where there is least noise.
    """
    errors: list[torch.Tensor] = []
    with torch.no_grad():
        for example in examples:
            batch = make_batch([example] * len(SIGMAS), encoders, config.noise, SIGMAS)
            found = squared_errors(network, batch, config.network.prediction)
            errors.append(found.reshape(len(SIGMAS), -1).mean(1).cpu())
    table = torch.stack(errors)
    tasks = [example.task for example in examples]
    by_task = {f"validation/{task}": float(table[[own == task for own in tasks]].mean()) for task in sorted(set(tasks))}
    by_level = {f"validation_at/{sigma}": float(mean) for sigma, mean in zip(SIGMAS, table.mean(0), strict=True)}
    return {"validation/loss": float(table.mean())} | by_task | by_level


def draw(network: nn.Module, examples: Iterable[Example], encoders: Encoders, config: TrainConfig) -> list[Drawn]:
    """Return what a network generates for the first `grid_examples` examples of each task, in each direction."""
    pipe = make_pipeline(network, encoders, config)
    by_task: dict[str, list[Example]] = {}
    for example in examples:
        if len(by_task.setdefault(example.task, [])) < config.grid_examples:
            by_task[example.task].append(example)
    return [
        Drawn(example, role, picture)
        for task, own in sorted(by_task.items())
        for role in TASKS[task].generated
        if role != "ray"
        for example in own
        if role in example.roles
        for picture in [_picture(pipe, example, _given(example, role), config)]
    ]


def _given(example: Example, role: str) -> list[bool]:
    """Return which views are given where a role is generated."""
    roles = TASKS[example.task].generated
    return conditions_of(example, (roles.index(role) + 0.5) / len(roles))


def _picture(pipe: Any, example: Example, given: Sequence[bool], config: TrainConfig) -> np.ndarray:
    """Return what is generated from the given views; of several pictures, as of a scene, side by side."""
    views = [view if own else None for view, own in zip(example.views, given, strict=True)]
    height, width = example.size
    output = pipe(
        example.task,
        [views],
        example.prompt,
        height=height,
        width=width,
        num_inference_steps=config.grid_steps,
        guidance_scale=1.0 if any(given) else 3.0,
        generator=torch.Generator().manual_seed(example.seed % 2**31),
        output_type="np",
    )
    return np.concatenate([np.rint(np.asarray(image) * 255).astype(np.uint8) for image in output.images], axis=1)


def grids(drawn: Sequence[Drawn]) -> dict[str, np.ndarray]:
    """Return a picture uint8 (H,W,3) a task and direction; its rows: what was given, what was generated, the truth."""
    rows: dict[str, list[list[np.ndarray]]] = {}
    for one in drawn:
        task, given = one.example.task, _given(one.example, one.role)
        name = task if one.role == "image" else f"{task}-{one.role}"
        shown = [
            (view, own) for view, own in zip(one.example.views, given, strict=True) if isinstance(view, np.ndarray)
        ]
        before, truth = ([view for view, own in shown if own is is_given] for is_given in (True, False))
        rows.setdefault(name, []).append([*before, one.pixels, *truth])
    return {name: _stacked(own) for name, own in rows.items()}


def _stacked(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Return rows of pictures on one light page, each picture as large as it is."""
    width = max(sum(picture.shape[1] + _GAP for picture in row) for row in rows) + _GAP
    height = sum(max(picture.shape[0] for picture in row) + _GAP for row in rows) + _GAP
    page = np.full((height, width, 3), _PAGE, np.uint8)
    top = _GAP
    for row in rows:
        left = _GAP
        for picture in row:
            page[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
            left += picture.shape[1] + _GAP
        top += max(picture.shape[0] for picture in row) + _GAP
    return page


def write_grids(run: Path, step: int, pictures: dict[str, np.ndarray]) -> None:
    """Write the grids of a step below RUN/grids."""
    folder = run / "grids"
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / f"{step:08d}-{name}.png")
