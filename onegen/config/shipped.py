"""What ships with onegen beside its code, in the wheel and in a checkout: recipes, schemas, constraints."""

from importlib.resources import files
from pathlib import Path
from typing import Literal

from onegen.errors import ConfigError, nearest


def shipped(name: Literal["pipelines", "schemas", "constraints.txt"] = "pipelines") -> Path:
    """Return a shipped folder or file: inside the package once installed, at the top of a checkout before."""
    package = Path(str(files("onegen")))
    inside = package / "_shipped" / name
    return inside if inside.exists() else package.parent / name


def recipe_path(name: str) -> Path:
    """Return the file a RECIPE argument means: a path, or the name of a shipped recipe.

    Raises ConfigError for a bare name that is neither.
    """
    path = Path(name)
    if path.is_file() or path.suffix or len(path.parts) > 1:
        return path
    known = {file.stem: file for file in sorted(shipped().glob("**/*.yaml"))}
    if name not in known:
        raise ConfigError(f"recipe must be a YAML file or one that ships, got {name!r}; {nearest(name, list(known))}")
    return known[name]
