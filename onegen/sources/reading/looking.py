"""Sources that look at their files to know what they provide: once, when the plan is made.

What they found is pinned with the plan, so that a file that comes later changes no type of a dataset under way.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from onegen.sample import Provides


class Looks(ABC):
    """Base of such sources, which are dataclasses of their options."""

    @abstractmethod
    def look(self) -> Mapping[str, Provides]:
        """Return what the files say that the source provides, by column; raises ConfigError."""

    @cached_property
    def provides(self) -> Mapping[str, Provides]:
        """What the source provides, by column: what is pinned, else what a look at its files says.

        Raises ConfigError as `look` does.
        """
        return self.look()

    def pin(self, provides: Mapping[str, Provides]) -> None:
        """Take what an earlier look found as what the source provides."""
        self.__dict__["provides"] = provides

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to a worker: options, and what is provided; nobody looks twice, no open file travels."""
        options = {option.name: getattr(self, option.name) for option in dataclasses.fields(self)}  # type: ignore[arg-type]
        return options | {name: self.__dict__[name] for name in ("provides",) if name in self.__dict__}
