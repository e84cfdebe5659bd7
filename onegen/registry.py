"""Find an annotator or a source by the name a recipe gives it, importing only the module that holds it.

`depth` is looked up in `onegen/annotators/depth.py`; a dotted name such as `mylab.normals` is imported as it stands,
so that annotators can live outside this package.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

from onegen.sample import ConfigError

_CLASSES: dict[tuple[str, str, str], type] = {}


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
    """Return the names of the modules shipped in a family, sorted."""
    package = importlib.import_module(f"onegen.{family}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))


def nearest(word: str, choices: list[str]) -> str:
    """Return `; did you mean 'x'?` for the closest choice, else the list of choices."""
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(sorted(choices)) or '(none)'}."


def find(family: str, name: str, options: dict[str, Any]) -> type:
    """Return the class registered under `name`, choosing among several backends by `options["backend"]`.

    Raises ConfigError for an unknown name or backend, naming the nearest one.
    """
    _import(family, name)
    short = name.rpartition(".")[2]
    backends = {backend: cls for (fam, known, backend), cls in _CLASSES.items() if fam == family and known == short}
    if not backends:
        raise ConfigError(f"module of {family} {name!r} must register {short!r}, and does not.")
    backend = str(options.get("backend", "embedded" if "embedded" in backends else next(iter(backends))))
    if "" in backends:
        return backends[""]
    if backend not in backends:
        raise ConfigError(
            f"backend of {name!r} is unknown: {backend!r}; {nearest(backend, list(backends))} "
            f"The models of the paper come in a later version."
        )
    return backends[backend]


def _import(family: str, name: str) -> ModuleType:
    module = name if "." in name else f"onegen.{family}.{name}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and module.startswith(error.name):
            raise ConfigError(f"{family} {name!r} is unknown; {nearest(name, available(family))}") from None
        raise ConfigError(
            f"{family} {name!r} needs the package {error.name!r}, which is not installed. "
            f"Install the extra that has it, for example: pip install 'onegen[torch]'."
        ) from error
