"""Renderers by name, and what each of them does."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from onegen.errors import ConfigError, nearest
from onegen.geometry.cameras import Camera
from onegen.scenes.scene import RenderOptions, Scene, View

BACKENDS = ("embree", "blender")


class Renderer(Protocol):
    """Draws the views of one object after the other, each read once."""

    @property
    def version(self) -> str:
        """The version of what draws; raises ConfigError where it does not start."""
        ...

    def render(self, scene: Scene, cameras: Sequence[Camera], options: RenderOptions) -> Iterator[View]:
        """Yield a view a camera, in order; raises SampleError where the object cannot be drawn."""
        ...

    def close(self) -> None:
        """Let go of processes and memory."""
        ...


def make_renderer(backend: str = "embree", **options: Any) -> Renderer:
    """Return a renderer by name; raises ConfigError for an unknown one, or one whose program is not installed."""
    if backend == "embree":
        from onegen.scenes.embree import EmbreeRenderer

        return EmbreeRenderer(**options)
    if backend == "blender":
        from onegen.scenes.blender import BlenderRenderer

        return BlenderRenderer(**options)
    raise ConfigError(f"renderer must be a known one, got {backend!r}: {nearest(backend, BACKENDS)}")
