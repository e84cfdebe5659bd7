"""Find an annotator or a source by the name a recipe gives it, importing only the module that holds it.

`depth` with the backend `embedded` is looked up in `onegen/annotators/depth/embedded.py`; a module that is no folder
(`scores.py`) holds all its backends. A dotted name such as `mylab.normals` is imported as it stands, so that annotators
can live outside this package.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from onegen.errors import ConfigError, nearest

DEFAULT_BACKEND = "embedded"
_CLASSES: dict[tuple[str, str, str], type] = {}
_NO_NAMES = ("shared", "reading", "base")
"""Rooms beside the names of a family, which hold what several of them need."""


def register(family: str, name: str, backend: str = "") -> Callable[[type], type]:
    """Return a decorator that files a class of `family` (`annotators`, `sources`) under `name` and `backend`.

    Raises ConfigError when another class holds the name.
    """

    def enter(cls: type) -> type:
        held = _CLASSES.get((family, name, backend))
        if held is not None and (held.__module__, held.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ConfigError(
                f"{family} name must be unique, got {name!r} ({backend or 'default'}) from {cls.__module__} "
                f"and {held.__module__}."
            )
        _CLASSES[family, name, backend] = cls
        return cls

    return enter


def available(family: str) -> list[str]:
    """Return the names that a family ships, sorted."""
    package = importlib.import_module(f"onegen.{family}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.name not in _NO_NAMES)


def backends(family: str, name: str) -> list[str]:
    """Return the backends that ship for a name: the files of its folder, none where it is a single file."""
    package = _import(family, name)
    folders = getattr(package, "__path__", ())
    return sorted(module.name for module in pkgutil.iter_modules(folders) if not module.ispkg)


def find(family: str, name: str, options: Mapping[str, Any]) -> type:
    """Return the class registered under `name`, choosing among several backends by `options["backend"]`.

    Raises ConfigError for an unknown name or backend, naming the nearest one.
    """
    wanted = str(options.get("backend", DEFAULT_BACKEND))
    files = backends(family, name)
    if wanted.replace("-", "_") in files:
        _import(family, name, wanted.replace("-", "_"))
    short = name.rpartition(".")[2]
    classes = {backend: cls for (fam, known, backend), cls in _CLASSES.items() if fam == family and known == short}
    if "" in classes:
        return classes[""]
    if wanted not in classes and "backend" not in options and classes:
        return next(iter(classes.values()))
    if wanted not in classes:
        known = sorted({*classes, *(file.replace("_", "-") for file in files)})
        if not known:
            raise ConfigError(f"module of {family} {name!r} must register {short!r}, and does not.")
        raise ConfigError(f"backend of {name!r} is unknown: {wanted!r}; {nearest(wanted, known)}")
    return classes[wanted]


def _import(family: str, name: str, backend: str = "") -> ModuleType:
    module = ".".join(filter(None, [name if "." in name else f"onegen.{family}.{name}", backend]))
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and module.startswith(error.name):
            raise ConfigError(f"{family} {name!r} is unknown; {nearest(name, available(family))}") from None
        raise ConfigError(
            f"{family} {name!r} needs the package {error.name!r}, which is not installed. "
            f"Install the extra that has it, for example: pip install 'onegen[torch]'."
        ) from error
