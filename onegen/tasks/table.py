"""The task table: which views a task has, which may be generated, and how its prompt reads.

One table for the loader (writes prompts), the sampler (checks and completes them) and the audit (reads them back).
Facts and spellings follow the released model (OneDiffusion, arXiv 2411.16318, sections 3 and 4 and its prompt guide):
tokens are plain lower-case text, view 0 is the image, `[[imgK]]` announces the caption of view K, and the direction
of a task is only its mask.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from onegen.errors import ConfigError, nearest

MAX_REFERENCES = 4
"""Identity samples have 2 to 5 views: the target and up to four references (paper, section 4.3)."""


@dataclass(frozen=True, slots=True)
class Task:
    """One row of the table.

    `views` are the roles of the views in order; `repeats` the role (or roles) that may follow or repeat: references
    of an identity, frames of a scene. `generated` are the roles a mask may set to 1. `entities` is the word in `<#HEX
    name WORD: class>`. `numbered` prompts caption every view with `[[imgK]]`. `steps` and `guidance` are the
    suggestions of the released model.
    """

    name: str
    views: tuple[str, ...]
    generated: tuple[str, ...] = ("image",)
    repeats: Literal["", "reference", "frame"] = ""
    entities: Literal["", "mask", "boundingbox"] = ""
    numbered: bool = False
    item: bool = False
    steps: int = 50
    guidance: float = 4.0

    @property
    def token(self) -> str:
        """The text that opens the prompt."""
        return f"[[{self.name}]]"

    def mask(self, *predict: str) -> tuple[int, ...]:
        """Return the mask of `views` that generates the roles in `predict`: 1 starts from noise, 0 is a condition."""
        return tuple(int(role in predict) for role in self.views)


def _condition(name: str, role: str, entities: Literal["", "mask", "boundingbox"] = "") -> Task:
    """Return a task of two views, trained in both directions."""
    return Task(name, ("image", role), generated=("image", role), entities=entities)


TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Task("text2image", ("image",)),
        Task("deblurring", ("image", "blurred")),
        Task("image_inpainting", ("image", "masked")),
        Task("super_resolution", ("image", "low_resolution")),
        _condition("canny2image", "canny"),
        _condition("depth2image", "depth"),
        _condition("hed2img", "hed"),
        _condition("pose2image", "pose"),
        _condition("semanticmap2image", "semantic_map", entities="mask"),
        _condition("boundingbox2image", "boxes", entities="boundingbox"),
        Task("image_editing", ("image", "source"), steps=60, guidance=3.2),
        Task("faceid", ("image", "reference"), repeats="reference", numbered=True, steps=75),
        Task("subject_driven", ("image", "source"), numbered=True, item=True, steps=70),
        Task("multiview", ("image", "ray"), generated=("image", "ray"), repeats="frame", steps=60),
    )
}


def find_task(name: str) -> Task:
    """Return the task called `name`. Raises ConfigError naming the nearest one."""
    if name not in TASKS:
        raise ConfigError(f"task must be one of the table's, got {name!r}; {nearest(name, list(TASKS))}")
    return TASKS[name]


def find_tasks(names: str | Sequence[str]) -> tuple[Task, ...]:
    """Return the tasks of a name, of a `first+second` combination, or of a sequence of names, in token order."""
    parts = names.split("+") if isinstance(names, str) else list(names)
    tasks = tuple(find_task(part.strip()) for part in parts)
    if len({task.name for task in tasks}) != len(tasks) or not tasks:
        raise ConfigError(f"tasks of a combination must be one or more different ones, got {parts}.")
    alone = [task.name for task in tasks if len(task.views) == 1 or task.repeats == "frame"]
    if len(tasks) > 1 and alone:
        raise ConfigError(
            f"tasks of a combination must each add a condition to one image, got {alone[0]!r}. Run it alone."
        )
    return tasks


def view_roles(tasks: Sequence[Task], num_views: int) -> tuple[str, ...]:
    """Return the role of each of `num_views` views: the image, then what each task adds, in task order.

    Raises ConfigError when the tasks cannot have that many views.
    """
    name = "+".join(task.name for task in tasks)
    if tasks[0].repeats == "frame":
        if num_views < 2 or num_views % 2:
            raise ConfigError(f"views of {name!r} must be pairs of an image and a camera, got {num_views} views.")
        return tasks[0].views * (num_views // 2)
    extra = num_views - 1 - sum(len(task.views) - 1 for task in tasks)
    repeating = any(task.repeats == "reference" for task in tasks)
    if extra < 0 or extra > (MAX_REFERENCES - 1 if repeating else 0):
        fixed = num_views - extra
        allowed = f"{fixed} to {fixed + MAX_REFERENCES - 1}" if repeating else str(fixed)
        expected = ", ".join(["image", *(role for task in tasks for role in task.views[1:])])
        raise ConfigError(
            f"views of {name!r} must be {allowed} ({expected}), got {num_views}. Give one image per condition."
        )
    roles = ["image"]
    for task in tasks:
        roles += task.views[1:] * (1 + extra if task.repeats == "reference" else 1)
    return tuple(roles)


def check_mask(tasks: Sequence[Task], mask: Sequence[int]) -> tuple[str, ...]:
    """Return the roles of the views of `mask` (1 = generated, 0 = given).

    Raises ConfigError for a wrong number of views, when nothing is left to generate, or when a role is to be
    generated that these tasks only take as a condition.
    """
    roles = view_roles(tasks, len(mask))
    name = "+".join(task.name for task in tasks)
    if not any(mask):
        raise ConfigError(
            f"views of {name!r} must leave one to generate, got {len(mask)} given. Leave the wanted one out."
        )
    may = {role for task in tasks for role in task.generated}
    for index, (role, generated) in enumerate(zip(roles, mask, strict=True)):
        if generated and role not in may:
            raise ConfigError(
                f"view {index} of {name!r} ({role}) must be given, got none. It generates {', '.join(sorted(may))}."
            )
    return roles
