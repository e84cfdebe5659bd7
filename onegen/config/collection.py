"""Collections: datasets that are built, looked at and trained on together, with targets and sampling rates.

One-Gen is one: `pipelines/one_gen.yaml`. Each dataset has a recipe; its folder lies in the collection's. docs/build.md.
"""

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from onegen.config.parse import Config, parse, read_mapping
from onegen.config.recipe import Recipe, load_recipe
from onegen.config.shipped import recipe_path, shipped
from onegen.errors import ConfigError, nearest
from onegen.tasks.table import find_task


class Member(Config):
    """One dataset of a collection."""

    recipe: str = Field(
        description="recipe that makes it: a shipped one by name, or a YAML file, from the collection's folder",
        examples=["text_to_image"],
    )
    change: dict[str, Any] = Field(
        {},
        description="keys of the recipe that are otherwise here, whole: its source at least, for most",
        examples=[{"source": {"parquet": "data/pixelprose/*.parquet"}}],
    )
    group: str = Field(description="super-category, of `groups`, whose budget it shares", examples=["text_to_image"])
    target: int | None = Field(None, ge=1, description="samples it should have")
    rate: float = Field(1.0, gt=0, description="its share of the group's budget in training, beside the others' rates")
    tasks: list[str] | None = Field(
        None, min_length=1, description="tasks it is trained on; null: all that its columns allow"
    )
    origin: str = Field("", description="what it is and where it is had, for people")

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, value: list[str] | None) -> list[str] | None:
        for name in value or ():
            try:
                find_task(name)
            except ConfigError as error:
                raise ValueError(str(error)) from error
        return value


class Collection(Config):
    """Datasets by name, and the super-categories that share the training budget."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="what the collection is called", examples=["one_gen"]
    )
    groups: dict[str, float] = Field(
        min_length=1,
        description="super-categories and their weights in training, of any sum",
        examples=[{"text_to_image": 1, "image_to_image": 1, "multiview": 1}],
    )
    datasets: dict[str, Member] = Field(
        min_length=1,
        description="datasets by name, which is also the folder",
        examples=[{"pixelprose": {"recipe": "text_to_image", "group": "text_to_image"}}],
    )

    @field_validator("groups")
    @classmethod
    def _positive(cls, value: dict[str, float]) -> dict[str, float]:
        for name, weight in value.items():
            if not weight > 0:
                raise ValueError(f"a group's weight must be above 0, got {name}: {weight}")
        return value

    @model_validator(mode="after")
    def _groups_are_known(self) -> "Collection":
        for name, member in self.datasets.items():
            # The name is a folder and the name of a dataset: what a recipe may be called.
            if not name.replace("-", "_").replace("_", "a").isalnum() or not name.isascii():
                raise ValueError(f"a dataset must be called by letters, digits, - and _, got {name!r}")
            if member.group not in self.groups:
                raise ValueError(
                    f"datasets.{name}.group must be one of groups, got {member.group!r}; "
                    f"{nearest(member.group, list(self.groups))}"
                )
        return self

    def shares(self) -> dict[str, float]:
        """Return the part of the training budget that each dataset has; they sum to 1.

        Groups share by their weights, those without a dataset left out, and a group's datasets by their rates.
        """
        used = {member.group for member in self.datasets.values()}
        whole = sum(weight for name, weight in self.groups.items() if name in used)
        rates = {
            group: sum(member.rate for member in self.datasets.values() if member.group == group) for group in used
        }
        return {
            name: self.groups[member.group] / whole * member.rate / rates[member.group]
            for name, member in self.datasets.items()
        }

    def pick(self, names: tuple[str, ...]) -> "dict[str, Member]":
        """Return the datasets of these names, in the collection's order; all for none. Raises ConfigError."""
        for name in names:
            if name not in self.datasets:
                raise ConfigError(
                    f"--dataset must be one of the collection {self.name}, got {name!r}; "
                    f"{nearest(name, list(self.datasets))}"
                )
        return {name: member for name, member in self.datasets.items() if not names or name in names}


def is_collection(path: str | Path) -> bool:
    """Say whether a YAML file describes a collection; raises ConfigError where it cannot be read."""
    return "datasets" in read_mapping(path, "recipe", "name, source and stages")


def load_collection(path: str | Path) -> Collection:
    """Return the collection in a YAML file; raises ConfigError naming file, key and the nearest valid key."""
    return parse(Collection, read_mapping(path, "collection", "name, groups and datasets"), str(path))


def recipe_of(collection: Collection, name: str, folder: Path) -> Recipe:
    """Return the recipe of one dataset, called like it; `folder` is where paths of recipes start from.

    Raises ConfigError as `load_recipe` does, and for a change to a key that no recipe has.
    """
    member = collection.datasets[name]
    named = recipe_path(member.recipe) if member.recipe == Path(member.recipe).stem else folder / member.recipe
    recipe = load_recipe(named)
    changed = {**recipe.model_dump(mode="json", exclude_unset=True), **member.change, "name": name}
    return parse(Recipe, changed, f"datasets.{name} ({member.recipe} with its changes)")


def recipes_in(path: Path) -> dict[str, Recipe]:
    """Return the recipes in a YAML file by name: those of a collection's datasets, or the one it is."""
    if not is_collection(path):
        recipe = load_recipe(path)
        return {recipe.name: recipe}
    collection = load_collection(path)
    return {name: recipe_of(collection, name, path.parent) for name in collection.datasets}


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that ship, by name; collections and recipes of training are none."""
    return {path.stem: path for path in sorted(shipped().glob("*.yaml")) if not is_collection(path)}


def shipped_collections() -> dict[str, Path]:
    """Return the collections that ship, by name."""
    return {path.stem: path for path in sorted(shipped().glob("*.yaml")) if is_collection(path)}
