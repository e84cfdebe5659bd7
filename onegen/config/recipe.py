"""Recipes: YAML to typed objects, and the annotators and the source they name. docs/build.md.

Paths in a recipe start from where onegen is run. `onegen build RECIPE OUT --dry-run` prints a recipe with its defaults.
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from onegen.config.bring import BRING
from onegen.config.parse import Config, parse, read_mapping
from onegen.config.registry import available, find
from onegen.errors import ConfigError, nearest
from onegen.sample import IMAGE, PACKED, SELECT, Annotator, Kind

SOURCE, PACK = "source", "pack"
"""Steps that are no columns: what a source brings, and the packed view."""
RESERVED = (IMAGE, SOURCE, SELECT, PACK, PACKED)
"""Names of what every build has: no stage, no annotator and no column of a source may take them."""


class ImageConfig(Config):
    """What ingest accepts and stores; see `onegen.build.ingest.Ingest`."""

    min_side: int = Field(1, ge=1, description="pixels; an image with a shorter side is filtered")
    max_side: int | None = Field(1024, ge=16, description="pixels; a larger image is resized; null keeps every size")
    max_pixels: int = Field(100_000_000, ge=1, description="an image with more fails on its header alone")
    licence: str | None = Field(None, description="licence of images whose source names none")
    attribution: str | None = Field(None, description="attribution of images whose source names none")
    format: Literal["keep", "jpg", "png", "webp"] = Field(
        "keep", description="what images are stored as, and their parts called; keep: as they came, rewritten ones too"
    )
    colour: Literal["srgb", "keep"] = Field(
        "srgb", description="srgb: RGB of another ICC profile is converted, once; keep: it is stored in its profile"
    )
    batch_size: int = Field(16, ge=1, description="images a worker reads before it reports again")
    workers: int | None = Field(
        None, ge=0, description="worker processes or actors; null: --workers, else one per core"
    )


USE = "use"
"""Option of a stage's entry: the annotator to use, where the column is called otherwise."""


class StageConfig(Config):
    """Annotators that share one decode. Each makes the column of its name; `use` makes one under another name."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$", description="what --only, --recompute and --stage call it", examples=["look"]
    )
    annotators: dict[str, dict[str, Any]] = Field(
        min_length=1,
        examples=[{"scores": {}, "nsfw": {}}],
        description="annotator name to its options; each makes the column of its name. "
        "COLUMN: {use: ANNOTATOR, ...} makes a column called otherwise",
    )
    where: str | None = Field(
        None, description="duckdb boolean over earlier columns; rows where it is not true are skipped"
    )
    batch_size: int = Field(16, ge=1, description="images an annotator gets at once; never changes what it answers")
    batch_pixels: int | None = Field(
        None,
        ge=1,
        description="pixels of all images an annotator gets at once, one image at least; null: batch_size alone counts",
    )
    workers: int | None = Field(
        None, ge=0, description="worker processes or actors; null: --workers, else one per core"
    )
    num_cpus: float | None = Field(None, ge=0, description="cores each worker reserves; null: what annotators ask for")
    num_gpus: float | None = Field(
        None, ge=0, description="GPUs each worker reserves, fractions allowed; null: the same"
    )
    memory: int | None = Field(
        None, ge=0, description="bytes a worker may hold: reserved on Ray, a limit on local workers"
    )

    @field_validator("annotators", mode="before")
    @classmethod
    def _empty_options(cls, value: Any) -> Any:
        return {name: options or {} for name, options in value.items()} if isinstance(value, dict) else value

    @field_validator("annotators")
    @classmethod
    def _plain_names(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, options in value.items():
            if USE not in options:
                continue
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(f"a column must be called by lower-case letters, digits and _, got {name!r}")
            if name in available("annotators") and name != options[USE]:
                raise ValueError(
                    f"column {name!r} must be made by the annotator of its name, got use: {options[USE]!r}; what "
                    f"requires {name!r} would read another's answers. Call the column otherwise"
                )
        return value


LEAST_IMAGES: Mapping[Kind, int] = {"identity": 4, "scene": 2}
"""Images a set must have: four photos of a subject, as OneDiffusion asks, and two views of a scene."""


class NearDuplicates(Config):
    """Perceptual hashes at most `distance` bits apart (of 64) are one picture."""

    distance: int = Field(4, ge=0, le=8, description="bits of 64 that two perceptual hashes may differ by")


class SelectConfig(Config):
    """Which images go on: the barrier between ingest and the annotators."""

    exact_duplicates: Literal["drop"] = Field(
        "drop", description="same original bytes: first in plan order wins; keys stay unique"
    )
    near_duplicates: NearDuplicates | None = Field(
        None, description="null: pictures that only look alike all stay", examples=[{"distance": 4}]
    )
    keep: dict[str, str] = Field(
        {},
        examples=[{"sharp": "scores.sharpness > 10"}],
        description="rule name to duckdb boolean; rows, or images of a set, where it is not true are filtered as "
        "`rule:NAME`",
    )
    min_images: int | None = Field(
        None, ge=1, description="a set with fewer images left is filtered; null: 4 of an identity, 2 of a scene"
    )

    def least_images(self, kind: Kind) -> int:
        """Return how many images a sample of a kind must have left."""
        return self.min_images or LEAST_IMAGES.get(kind, 1)


class PackConfig(Config):
    """The packed view: one tar a shard for any WebDataset reader."""

    columns: list[str] | None = Field(
        None, description="columns to pack; null: all of the recipe", examples=[[IMAGE, "depth"]]
    )
    require: list[str] = Field(
        [IMAGE], description="columns without which a sample is left out", examples=[[IMAGE, "depth"]]
    )
    render: list[str] = Field(
        [],
        examples=[["canny"]],
        description="conditions to store drawn: canny, pose, boxes, semantic_map, blurred, masked, low_resolution",
    )


class LimitsConfig(Config):
    """When a worker, a stage or a build is given up."""

    batch_seconds: float = Field(600, gt=0, description="a worker that reports nothing for this long is killed")
    load_seconds: float = Field(900, gt=0, description="the same while it starts and loads weights")
    failure_rate: float = Field(0.05, ge=0, le=1, description="a column with more failed rows makes the build exit 1")
    breaker_count: int = Field(
        20,
        ge=1,
        description="failures of one exception type in a shard (all rows of a smaller one) that stop the stage...",
    )
    breaker_rate: float = Field(0.2, ge=0, le=1, description="...when they are also more than this share of its rows")


class Recipe(Config):
    """Everything a build needs to know. docs/build.md has examples."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="what the dataset is called", examples=["my-dataset"]
    )
    kind: Kind = Field(
        "image",
        description="what one sample is: image, pair (target and source), identity (images of one subject), or scene "
        "(views with cameras)",
    )
    source: dict[str, Any] = Field(
        description="source name to its location, beside its options: {folder: ./photos}",
        examples=[{"folder": "./photos"}],
    )
    collected: str | None = Field(
        None, description="how the subjects were collected and may be used; kind identity must say it"
    )
    incomplete: Literal["keep", "fail"] = Field(
        "keep", description="a set (identity, scene) that loses an image: keep the others, or fail as a pair does"
    )
    samples_per_shard: int = Field(1000, ge=1, description="images per shard")
    image: ImageConfig = Field(ImageConfig(), description="what is accepted and how it is stored")
    stages: list[StageConfig] = Field(
        [],
        description="annotators, in the order they run",
        examples=[[{"name": "look", "annotators": {"scores": {}, "nsfw": {}}}]],
    )
    select: SelectConfig = Field(SelectConfig(), description="which images go on to the annotators")
    where: str | None = Field(None, description="duckdb boolean over columns; only rows where it is true are packed")
    pack: PackConfig | None = Field(
        PackConfig(), description="the packed view; null: columns only", examples=[{"columns": [IMAGE, "depth"]}]
    )
    use: Literal["commercial", "research"] | None = Field(
        None, description="what the dataset is for; models whose licences forbid that are named by every build"
    )
    limits: LimitsConfig = Field(LimitsConfig(), description="when to give up; changes no byte of the output")

    @model_validator(mode="after")
    def _names_once(self) -> "Recipe":
        names = [stage.name for stage in self.stages] + [name for stage in self.stages for name in stage.annotators]
        stages = [stage.name for stage in self.stages]
        columns = [name for stage in self.stages for name in stage.annotators]
        for group, word in ((stages, "stage"), (columns, "annotator")):
            twice = sorted({name for name in group if group.count(name) > 1})
            if twice:
                raise ValueError(f"{word} names must be unique, got {twice[0]!r} twice")
        taken = sorted(set(names) & set(RESERVED))
        if taken:
            raise ValueError(f"stage and annotator names must not be {', '.join(RESERVED)}, got {taken[0]!r}")
        if self.kind in ("pair", "scene") and self.select.near_duplicates is not None:
            raise ValueError(
                f"select.near_duplicates must be null for kind {self.kind!r}: two edits of one picture, or two views "
                f"of one place, look alike and differ. Exact duplicates are dropped in any case"
            )
        return self

    @model_validator(mode="after")
    def _sets(self) -> "Recipe":
        if self.kind not in LEAST_IMAGES and (self.select.min_images is not None or self.incomplete != "keep"):
            raise ValueError(
                f"select.min_images and incomplete must stand with kind identity or scene, got kind {self.kind!r}. "
                f"Leave them out"
            )
        if self.kind == "identity" and not (self.collected or "").strip():
            raise ValueError(
                "collected must say how the subjects were collected and on what ground their pictures are used, for "
                "kind 'identity'; the dataset's card repeats it"
            )
        if self.kind == "identity" and not (self.image.licence or "").strip():
            raise ValueError(
                "image.licence must name the licence of the source, for kind 'identity'; what a picture's own source "
                "states goes before it"
            )
        return self


def load_recipe(path: str | Path) -> Recipe:
    """Return the recipe in a YAML file; raises ConfigError naming file, key and the nearest valid key."""
    data = read_mapping(path, "recipe", "name, source and stages")
    return parse(Recipe, data, str(path))


def modules_of(recipe: Recipe) -> list[str]:
    """Return the modules outside onegen that making a recipe's source, annotators and what it brings would import."""
    entries = [*(stage.annotators for stage in recipe.stages), recipe.source.get(BRING)]
    uses = [
        str(options.get(USE, name) if isinstance(options, Mapping) else name)
        for group in entries
        if isinstance(group, Mapping)
        for name, options in group.items()
    ]
    return sorted(name for name in {*recipe.source, *uses} if "." in name and not name.startswith("onegen."))


def code_of(recipe: Recipe) -> list[str]:
    """Return the repositories whose own code a recipe's annotators would run."""
    options = [entry for stage in recipe.stages for entry in stage.annotators.values()]
    return sorted({str(entry.get("model", "its default model")) for entry in options if entry.get("remote_code")})


def endpoints_of(recipe: Recipe) -> list[str]:
    """Return the addresses that a recipe's annotators would send pictures to, and a secret with them."""
    options = [entry for stage in recipe.stages for entry in stage.annotators.values()]
    return sorted({str(entry["url"]) for entry in options if "url" in entry})


def make_annotator(name: str, options: Mapping[str, Any]) -> tuple[str, Annotator]:
    """Return the column an entry of a stage makes and its annotator, with its options checked.

    The column is called like its annotator, unless `use` names another: `caption_short: {use: caption}`. Raises
    ConfigError for an unknown name, backend or option, for a wrong value, and where its weights are missing.
    """
    own = {option: value for option, value in options.items() if option != USE}
    annotator: Annotator = _make("annotators", str(options.get(USE, name)), own, own)
    return (name if USE in options else annotator.name), annotator


def make_source(described: dict[str, Any]) -> Any:
    """Return the source a recipe describes, such as {folder: ./photos}.

    Raises ConfigError for none or two of them, an unknown option or a wrong value; the source itself is not looked at.
    """
    known = available("sources")
    named = [key for key in described if key in known or "." in key]
    if len(named) != 1:
        first = next(iter(described), "")
        raise ConfigError(
            f"source must name one of {', '.join(known)}, got {list(described)}; {nearest(str(first), known)}"
        )
    location = described[named[0]]
    if named[0] in known and isinstance(location, list):
        raise ConfigError(
            f"source {named[0]!r} must be one path or URL, got {location}. Put the files below one folder, or name "
            f"tars and tables by a glob or a range: 'data/*.tar', 'data/{{000..009}}.tar'."
        )
    short = named[0].rpartition(".")[2]
    options = {short if key == named[0] else key: value for key, value in described.items()}
    return _make("sources", named[0], {}, options)


def _make(family: str, name: str, choice: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    return make_fields(find(family, name, choice), options, f"{family[:-1]} {name!r}", f"options of {name!r}")


def make_fields(cls: type, options: Mapping[str, Any], owner: str, where: str) -> Any:
    """Return a dataclass made of options; raises ConfigError for an unknown one of its `owner`, and a wrong value."""
    fields = [field.name for field in dataclasses.fields(cls)]
    unknown = [key for key in options if key not in fields]
    if unknown:
        known = nearest(unknown[0], fields) if fields else "it has none"
        raise ConfigError(f"{owner} has no option {unknown[0]!r}; {known}")
    return parse(cls, options, where)
