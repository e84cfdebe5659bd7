"""From the files and angles of a command line to the views of a call; needs no torch."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onegen.errors import ConfigError, SampleError
from onegen.tasks.colours import Entity, find_colour
from onegen.tasks.prompt import Prompt
from onegen.tasks.table import Task, view_roles

if TYPE_CHECKING:
    from onegen.geometry.cameras import Camera


@dataclass(frozen=True, slots=True)
class PicturePaths:
    """The pictures a user names, by file: of the image itself, of conditions, of references."""

    images: tuple[Path, ...] = ()
    conditions: tuple[Path, ...] = ()
    references: tuple[Path, ...] = ()


def arrange_views(tasks: Sequence[Task], paths: PicturePaths, predict: str) -> tuple[Path | None, ...]:
    """Return the path of each view in the task's order, None where it is to be generated.

    What is not given is generated; `predict` (roles, comma-separated) must then name it, or be empty. Raises
    ConfigError for too many or too few pictures.
    """
    name = "+".join(task.name for task in tasks)
    fixed = sum(len(task.views) - 1 for task in tasks)
    repeating = any(task.repeats == "reference" for task in tasks)
    roles = view_roles(tasks, 1 + fixed + (max(0, len(paths.references) - 1) if repeating else 0))
    pools = {"image": list(paths.images), "reference": list(paths.references), "condition": list(paths.conditions)}
    if not repeating and not pools["condition"]:
        # a source is a condition that users like to call a reference
        pools["condition"], pools["reference"] = pools["reference"], []
    views: list[Path | None] = []
    for role in roles:
        pool = pools[role if role in ("image", "reference") else "condition"]
        views.append(pool.pop(0) if pool else None)
    for kind, surplus in pools.items():
        if surplus:
            raise ConfigError(
                f"--{kind} of {name!r} must be given for its views {', '.join(roles)}, got {surplus[0]} too many."
            )
    _check_predict(tasks, roles, views, predict)
    return tuple(views)


def _how_to_give(needed: Collection[str], missing: Collection[str]) -> str:
    """Return the options that give the views of these roles, or that generate all that are missing."""
    options = {role: f"--{role if role in ('image', 'reference') else 'condition'}" for role in sorted(needed)}
    ways = " or ".join(f"{option} FILE ({role})" for role, option in options.items())
    return f"Add {ways}" + (f", or --predict {','.join(sorted(missing))}." if needed == missing else ".")


def _which_to_leave_out(roles: Sequence[str]) -> str:
    if len(roles) > 1:
        return "Leave --image or a --condition out."
    return (
        "Leave --image out; a photo goes with image_editing (--condition), subject_driven or faceid (--reference), or "
        "a condition of it such as depth2image."
    )


def _check_predict(tasks: Sequence[Task], roles: Sequence[str], views: Sequence[Path | None], predict: str) -> None:
    name = "+".join(task.name for task in tasks)
    missing = {role for role, view in zip(roles, views, strict=True) if view is None}
    wanted = {word.strip() for word in predict.split(",") if word.strip()}
    unknown = sorted(wanted - set(roles))
    if unknown:
        raise ConfigError(f"--predict of {name!r} must be of {', '.join(dict.fromkeys(roles))}, got {unknown[0]!r}.")
    conditions = {role for task in tasks for role in task.views} - {role for task in tasks for role in task.generated}
    if missing & conditions or (not wanted and len(missing) > 1):
        raise ConfigError(
            f"images of {name!r} must be given for all views but one ({', '.join(roles)}), got none for "
            f"{', '.join(sorted(missing))}. {_how_to_give(missing & conditions or missing, missing)}"
        )
    if not missing and not wanted:
        raise ConfigError(
            f"images of {name!r} must leave one view of {', '.join(roles)} to generate, got all of them. "
            + _which_to_leave_out(roles)
        )
    if wanted and wanted != missing:
        raise ConfigError(
            f"--predict of {name!r} must name the views that are not given ({', '.join(sorted(missing)) or 'none'}), "
            f"got {', '.join(sorted(wanted))}."
        )


def check_scene(paths: PicturePaths, captions: Sequence[str], entities: Sequence[str], item: str, predict: str) -> None:
    """Raise ConfigError for what a scene does not take: pictures other than frames, captions of views, entities."""
    for option, value in (
        ("--condition", paths.conditions),
        ("--reference", paths.references),
        ("--caption", captions),
        ("--entity", entities),
        ("--item", item),
    ):
        if value:
            raise ConfigError(f"{option} must be left out for multiview, got {value}. Give frames with --image.")
    if predict not in ("", "image", "ray", "camera"):
        raise ConfigError(f"--predict of 'multiview' must be image or ray, got {predict!r}.")


def make_rig(
    azimuth: str, elevation: str, distance: str, focal: float, trajectory: int, cameras: Path | None = None
) -> "list[Camera]":
    """Return the cameras of a scene's frames, those of a `transforms.json` or by angles; none where neither is given.

    Angles (degrees) and distances are comma-separated, one per camera or one for all; with `trajectory`, two azimuths
    are the ends of a path of that many cameras. Raises ConfigError for numbers that do not fit together.
    """
    if cameras is not None:
        return _read_rig(cameras, azimuth, trajectory)
    if not azimuth:
        if trajectory:
            raise ConfigError("--trajectory must have two azimuths to go between, got none. Add --azimuth -45,60.")
        return []
    from onegen.geometry.cameras import orbit

    azimuths = parse_numbers(azimuth, 2 if trajectory else 0, "--azimuth")
    if trajectory and azimuth.count(",") != 1:
        raise ConfigError(
            f"--azimuth must be the two ends of the --trajectory, got only {azimuth!r}. Write --azimuth -45,60."
        )
    elevations = parse_numbers(elevation, len(azimuths), "--elevation")
    distances = parse_numbers(distance, len(azimuths), "--distance")
    if trajectory:
        if trajectory < 2:
            raise ConfigError(f"--trajectory must be at least 2 views, got {trajectory}.")
        azimuths, elevations, distances = (
            spread(ends[0], ends[1], trajectory) for ends in (azimuths, elevations, distances)
        )
    return [orbit(*angles, focal) for angles in zip(azimuths, elevations, distances, strict=True)]


def _read_rig(path: Path, azimuth: str, trajectory: int) -> "list[Camera]":
    """Return the cameras in a `transforms.json`, the scene scaled as trained ones are.

    Raises ConfigError for a file that is none, where the cameras look at nothing together, and with --azimuth.
    """
    if azimuth or trajectory:
        raise ConfigError("--cameras must stand without --azimuth and --trajectory, got both. Leave one of them out.")
    from onegen.geometry.cameras import scale_to_distance
    from onegen.geometry.nerfstudio import read_nerfstudio

    cameras = list(read_nerfstudio(path).values())
    if len(cameras) < 2:
        return cameras
    try:
        return scale_to_distance(cameras)
    except SampleError as error:
        raise ConfigError(f"cameras of {path} must look at one scene: {error}") from error


def arrange_frames(images: Sequence[Path], num_cameras: int, most: int) -> tuple[Path | None, ...]:
    """Return the path of each camera's frame, None where it is to be generated: images come first.

    Raises ConfigError without cameras, and for more than `most` images.
    """
    if not num_cameras:
        raise ConfigError(
            "multiview must have --azimuth or --cameras (views to generate) or --predict ray (cameras), got none."
        )
    if len(images) > most:
        raise ConfigError(f"images of these {num_cameras} cameras must be at most {most}, got {len(images)}.")
    return (*images, *[None] * (num_cameras - len(images)))


def parse_numbers(text: str, count: int, what: str) -> tuple[float, ...]:
    """Return `count` numbers of a comma-separated list; one number stands for all. `count` 0 takes any."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{what} must be numbers separated by commas, got {text!r}.") from None
    if not all(math.isfinite(number) for number in numbers):
        raise ConfigError(f"{what} must be finite numbers separated by commas, got {text!r}.")
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
