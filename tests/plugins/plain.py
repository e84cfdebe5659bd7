"""The whole annotator contract by itself, without the base onegen ships: what most plug-ins of the tests start from."""

from collections.abc import Mapping
from typing import ClassVar

from onegen.sample import Provides, Resources, Weights


class Plain:
    """An exact annotator without weights, pixels or requirements."""

    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {}
    requires: ClassVar[tuple[str, ...]] = ()
    provides: ClassVar[Provides] = Provides()
    resources: ClassVar[Resources] = Resources()
    needs_pixels: ClassVar[bool] = False

    def weights(self) -> tuple[Weights, ...]:
        return ()

    def load(self) -> None:
        pass
