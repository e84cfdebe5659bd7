"""From the files and angles of a command line to the views of a call; needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onegen.errors import ConfigError
from onegen.tasks.colours import Entity, find_colour
from onegen.tasks.prompt import Prompt
from onegen.tasks.table import Task, view_roles


@dataclass(frozen=True, slots=True)
class Given:
    """The pictures a user names: of the image itself, of conditions, of references."""

    images: tuple[Path, ...] = ()
    conditions: tuple[Path, ...] = ()
    references: tuple[Path, ...] = ()


def arrange_views(tasks: Sequence[Task], given: Given, predict: str) -> tuple[Path | None, ...]:
    """Return the path of each view in the task's order, None where it is to be generated.

    What is not given is generated; `predict` (roles, comma-separated) must then name it, or be empty. Raises
    ConfigError for too many or too few pictures.
    """
    name = "+".join(task.name for task in tasks)
    fixed = sum(len(task.views) - 1 for task in tasks)
    repeating = any(task.repeats == "reference" for task in tasks)
    roles = view_roles(tasks, 1 + fixed + (max(0, len(given.references) - 1) if repeating else 0))
    pools = {"image": list(given.images), "reference": list(given.references), "condition": list(given.conditions)}
    if not repeating and not pools["condition"]:
        # a source is a condition that users like to call a reference
        pools["condition"], pools["reference"] = pools["reference"], []
    views: list[Path | None] = []
    for role in roles:
        pool = pools[role if role in ("image", "reference") else "condition"]
        views.append(pool.pop(0) if pool else None)
    for kind, left in pools.items():
        if left:
            raise ConfigError(
                f"--{kind} of {name!r} must be given for its views {', '.join(roles)}, got {left[0]} too many."
            )
    _check_predict(name, roles, views, predict)
    return tuple(views)


def _check_predict(name: str, roles: Sequence[str], views: Sequence[Path | None], predict: str) -> None:
    missing = {role for role, view in zip(roles, views, strict=True) if view is None}
    wanted = {word.strip() for word in predict.split(",") if word.strip()}
    unknown = sorted(wanted - set(roles))
    if unknown:
        raise ConfigError(f"--predict of {name!r} must be of {', '.join(dict.fromkeys(roles))}, got {unknown[0]!r}.")
    if not wanted and len(missing) > 1:
        raise ConfigError(
            f"images of {name!r} must be given for all views but one ({', '.join(roles)}), got none for "
            f"{', '.join(sorted(missing))}. Use --image, --condition or --reference, or name all in --predict."
        )
    if wanted and wanted != missing:
        raise ConfigError(
            f"--predict of {name!r} must name the views that are not given ({', '.join(sorted(missing)) or 'none'}), "
            f"got {', '.join(sorted(wanted))}."
        )


def parse_numbers(text: str, count: int, what: str) -> tuple[float, ...]:
    """Return `count` numbers of a comma-separated list; one number stands for all. `count` 0 takes any."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{what} must be numbers separated by commas, got {text!r}.") from None
    if count and len(numbers) not in (1, count):
        raise ConfigError(f"{what} must be one number, or one per view ({count}), got {len(numbers)}.")
    return numbers * count if count and len(numbers) == 1 else numbers


def spread(start: float, end: float, count: int) -> tuple[float, ...]:
    """Return `count` evenly spaced numbers from start to end, both included."""
    return tuple(start + (end - start) * index / (count - 1) for index in range(count))


def parse_entity(text: str) -> Entity:
    """Return the entity written as `colour: label` (`red: cat`, `#FF0000: cat`)."""
    colour, separator, label = text.partition(":")
    if not separator or not label.strip():
        raise ConfigError(f"--entity must be written 'colour: label', got {text!r}.")
    return Entity(label.strip(), find_colour(colour))


def make_prompt(
    tasks: Sequence[Task], prompt: str, captions: Sequence[str], entities: Sequence[str], item: str, num_views: int
) -> str | Prompt:
    """Return the prompt of a command line: as written when nothing else is given, else put together.

    `captions` are those of the references (or of the source) in order, at most one per view behind the image.
    """
    if not (captions or entities or item):
        return prompt
    if prompt.lstrip().startswith("[["):
        raise ConfigError(
            "prompt must be a bare caption where --caption, --entity or --item is used, got a written one."
        )
    names = tuple(task.name for task in tasks)
    parsed = tuple(parse_entity(entity) for entity in entities)
    if not any(task.numbered for task in tasks):
        if captions:
            raise ConfigError(f"--caption must go with faceid or subject_driven, got {'+'.join(names)}.")
        return Prompt(names, (prompt,), parsed, item)
    roles = view_roles(tasks, num_views)
    described = [index for index, role in enumerate(roles) if role in ("reference", "source")]
    if len(captions) > len(described):
        raise ConfigError(
            f"--caption must be given at most {len(described)} times, once per reference, got {len(captions)}."
        )
    # the other conditions of a combination repeat the target's caption
    texts = ["" if index in described else prompt for index in range(num_views)]
    for index, caption in zip(described, captions, strict=False):
        texts[index] = caption
    return Prompt(names, tuple(texts), parsed, item)
