"""What a call to the pipeline asks for, checked and brought into one form before anything is computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from onegen.errors import ConfigError
from onegen.geometry.cameras import Camera
from onegen.pixels.sizes import nearest_bucket
from onegen.sampler.images import Picture, to_image
from onegen.tasks.prompt import Prompt, complete_prompt
from onegen.tasks.table import Task, check_mask, find_tasks

View = Picture | Camera | None
"""One view of a sample: a picture, the camera of a ray view, or None: to be generated."""

Prompts = str | Prompt | Sequence[str | Prompt]


@dataclass(frozen=True, slots=True)
class Request:
    """A checked call, its pictures RGB images.

    `samples`, `prompts` and `negatives` have one entry per sample. `roles` and `mask` (1 = to be generated) have one
    per view, and hold for all samples.
    """

    tasks: tuple[Task, ...]
    roles: tuple[str, ...]
    mask: tuple[int, ...]
    samples: tuple[tuple[View, ...], ...]
    prompts: tuple[str, ...]
    negatives: tuple[str, ...]

    def indices(self, *, ray: bool, generated: bool) -> list[int]:
        """Return the views that are rays or images, and generated or given."""
        pairs = zip(self.roles, self.mask, strict=True)
        return [i for i, (role, new) in enumerate(pairs) if (role == "ray") == ray and bool(new) == generated]

    @property
    def targets(self) -> list[int]:
        """The views that start from noise."""
        return [index for index, new in enumerate(self.mask) if new]


def make_request(
    task: str | Sequence[str],
    views: Sequence[Any] | None,
    prompt: Prompts,
    negative_prompt: str | Sequence[str] | None,
) -> Request:
    """Return the checked request of a call.

    `views` is one list of views for all prompts, or one list per prompt; None means a single view to generate. Raises
    ConfigError for what does not fit the task table, and for prompts and views that do not go together.
    """
    tasks = find_tasks(task)
    samples = _samples(views)
    prompts: list[str | Prompt] = [prompt] if isinstance(prompt, str | Prompt) else list(prompt)
    count = max(len(samples), len(prompts))
    for what, entries in (("lists of views", samples), ("prompts", prompts)):
        if len(entries) not in (1, count):
            raise ConfigError(f"{what} must be one, or one per sample ({count}), got {len(entries)}.")
    mask = _shared_mask(samples)
    roles = check_mask(tasks, mask)
    for sample in samples:
        _check_kinds(sample, roles)
    samples = [tuple(_in_rgb(view, role) for view, role in zip(sample, roles, strict=True)) for sample in samples]
    samples = samples * count if len(samples) == 1 else samples
    prompts = prompts * count if len(prompts) == 1 else prompts
    texts = tuple(complete_prompt(tasks, text, len(mask)) for text in prompts)
    negatives = _negatives(negative_prompt, isinstance(prompt, str | Prompt), count)
    return Request(tasks, roles, mask, tuple(samples), texts, negatives)


def _samples(views: Sequence[Any] | None) -> list[tuple[View, ...]]:
    if views is None:
        return [(None,)]
    if not isinstance(views, list | tuple) or not views:
        raise ConfigError(f"views must be a list with one entry per view, got {type(views).__name__} {views!r:.40}.")
    nested = [isinstance(view, list | tuple) for view in views]
    if any(nested) and not all(nested):
        raise ConfigError("views must be one list, or one list per sample, got both mixed.")
    return [tuple(sample) for sample in views] if nested[0] else [tuple(views)]


def _shared_mask(samples: Sequence[tuple[View, ...]]) -> tuple[int, ...]:
    masks = {tuple(int(view is None) for view in sample) for sample in samples}
    if len(masks) > 1:
        raise ConfigError(f"samples of a call must leave the same views out, got {sorted(masks)}. Call once for each.")
    return masks.pop()


def _check_kinds(sample: Sequence[View], roles: Sequence[str]) -> None:
    for index, (view, role) in enumerate(zip(sample, roles, strict=True)):
        kinds, wanted = (Camera, "a Camera") if role == "ray" else (Image.Image | np.ndarray, "a PIL or uint8 image")
        if view is not None and not isinstance(view, kinds):
            raise ConfigError(f"view {index} ({role}) must be {wanted} or None, got {type(view).__name__}.")


def _in_rgb(view: View, role: str) -> View:
    # here and not where they are encoded: a picture without a meaning is refused before the text encoder runs
    return to_image(view, role) if isinstance(view, Image.Image | np.ndarray) else view


def _negatives(negative: str | Sequence[str] | None, single: bool, count: int) -> tuple[str, ...]:
    if negative is None:
        return ("",) * count
    if isinstance(negative, str) is not single:
        raise ConfigError("negative prompt must be of the type of the prompt (one text, or a list), got the other.")
    texts = (negative,) if isinstance(negative, str) else tuple(negative)
    if len(texts) not in (1, count):
        raise ConfigError(f"negative prompts must be one, or one per sample ({count}), got {len(texts)}.")
    return texts * count if len(texts) == 1 else texts


def choose_size(request: Request, height: int | None, width: int | None, default: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) in pixels of all views.

    Given sizes stand. Otherwise text-to-image takes `default`, scenes are 512 x 512 (rays were trained square), and
    all else takes the 512-bucket nearest to the first image of a sample. Raises ConfigError where those of the samples
    differ.
    """
    if height is not None and width is not None:
        return height, width
    if request.tasks[0].repeats == "frame":
        return 512, 512
    firsts = [next((view for view in sample if isinstance(view, Image.Image)), None) for sample in request.samples]
    sizes = sorted({nearest_bucket(first.height, first.width) for first in firsts if first is not None})
    if len(sizes) > 1:
        shown = ", ".join(f"{height}x{width}" for height, width in sizes)
        raise ConfigError(
            f"images of a call must share a size, got samples nearest to (height x width) {shown}. "
            f"Call once for each size, or give height and width."
        )
    if sizes:
        return sizes[0]
    return default if len(request.mask) == 1 else (512, 512)
