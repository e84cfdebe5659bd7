"""Find an annotator or a source by the name a recipe gives it, importing only the module that holds it.

A backend is a file: `depth` with the backend `depth-anything` is looked up in
`onegen/annotators/depth/depth_anything.py`. A module that is no folder (`scores.py`) holds all its backends. A dotted
name such as `mylab.normals` is imported as it stands, so that annotators can live outside this package.
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
        holder = _CLASSES.get((family, name, backend))
        if holder is not None and (holder.__module__, holder.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ConfigError(
                f"{family} name must be unique, got {name!r} ({backend or 'default'}) from {cls.__module__} "
                f"and {holder.__module__}."
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


def default_backend(family: str, name: str) -> str:
    """Return the backend that is meant where none is named: `embedded`, or what the module calls `DEFAULT_BACKEND`."""
    return str(getattr(_import(family, name), "DEFAULT_BACKEND", DEFAULT_BACKEND))


def find_brought(name: str) -> type | None:
    """Return how the modality `name` takes what a source brings, `BROUGHT` of its module; None where it cannot.

    Raises ConfigError as `find` does.
    """
    reader: type | None = getattr(_import("annotators", name), "BROUGHT", None)
    return reader


def find(family: str, name: str, options: Mapping[str, Any]) -> type:
    """Return the class registered under `name`, choosing among several backends by `options["backend"]`.

    Raises ConfigError for an unknown name or backend, naming the nearest one and all there are, and for a package that
    is not installed.
    """
    wanted = str(options.get("backend", default_backend(family, name)))
    file = wanted.replace("-", "_")
    files = backends(family, name)
    if file in files:
        _import(family, name, file)
    classes = _registered(family, name)
    if "" in classes:
        return classes[""]
    if wanted not in classes and "backend" not in options and classes:
        return next(iter(classes.values()))
    if wanted not in classes:
        if file in files:
            raise ConfigError(f"file {file}.py of {name!r} must register the backend {wanted!r}, and does not.")
        known = sorted({*classes, *(other.replace("_", "-") for other in files)})
        if not known:
            raise ConfigError(f"module of {family} {name!r} must register {name.rpartition('.')[2]!r}, and does not.")
        raise ConfigError(
            f"backend of {name!r} must be one of {', '.join(known)}, got {wanted!r}; {nearest(wanted, known)}"
        )
    return classes[wanted]


def _registered(family: str, name: str) -> dict[str, type]:
    """Return the classes under a name by backend: of its own module where there are any, of whichever else.

    Somebody's `mylab.normals` and our `normals` are both called normals.
    """
    short, module = name.rpartition(".")[2], name if "." in name else f"onegen.{family}.{name}"
    classes = {backend: cls for (fam, known, backend), cls in _CLASSES.items() if fam == family and known == short}
    own = {backend: cls for backend, cls in classes.items() if f"{cls.__module__}.".startswith(f"{module}.")}
    return own or classes


def _import(family: str, name: str, backend: str = "") -> ModuleType:
    module = ".".join(filter(None, [name if "." in name else f"onegen.{family}.{name}", backend]))
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if f"{module}.".startswith(f"{error.name}."):
            raise ConfigError(f"{family} {name!r} is unknown; {nearest(name, available(family))}") from None
        which = f"{name!r} with the backend {backend!r}" if backend else repr(name)
        raise ConfigError(
            f"{family} {which} needs the package {error.name!r}, which is not installed. "
            f"Install the extra that has it, for example: pip install 'onegen[torch]'."
        ) from error
