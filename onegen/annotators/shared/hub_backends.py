"""Every backend that takes its weights from a hub, told without making one: what `onegen models` lists."""

from collections.abc import Iterator
from dataclasses import dataclass

from onegen.config.registry import available, backends, find
from onegen.errors import ConfigError
from onegen.weights.hub import HubModel
from onegen.weights.published import PUBLISHED, Published


@dataclass(frozen=True, slots=True)
class HubBackend:
    """A column's backend and its default model, what is published about that, the extra it needs, and if it is here."""

    column: str
    backend: str
    model: str
    published: Published | None
    extra: str
    is_here: bool


def hub_backends() -> Iterator[HubBackend]:
    """Yield the backends by column; asks no hub."""
    for column in available("annotators"):
        for file in backends("annotators", column):
            backend = file.replace("_", "-")
            try:
                cls = find("annotators", column, {"backend": backend})
            except ConfigError:
                continue  # its module needs a package that is not installed, which it says when it is asked for
            model = getattr(cls, "model", None)
            if not isinstance(model, str):
                continue
            extra = str(getattr(cls, "extra", "hub"))
            here = HubModel(model, files=_files(cls), extra=extra).is_here()
            yield HubBackend(column, backend, model, PUBLISHED.get(model), extra, here)


def _files(cls: type) -> tuple[str, ...]:
    """Return what a backend fetches of its repository: the one file it names, or what matches its patterns."""
    file = getattr(cls, "file", None)
    return (str(file),) if file is not None else tuple(getattr(cls, "files", ()))
