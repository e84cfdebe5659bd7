"""A table that changes in place on a terminal, and closes with its context; elsewhere there is none."""

import sys
import time
from abc import ABC, abstractmethod
from typing import Self, TextIO

from rich.console import RenderableType
from rich.live import Live

from onegen.cli.lines import make_console

_PER_SECOND = 4
"""How often the table is drawn anew."""


class LiveTable(ABC):
    """Something long that shows itself on a console, in a table where that is a terminal. A context manager."""

    def __init__(self, output: TextIO | None = None) -> None:
        self._console = make_console(output or sys.stderr)
        self._began = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=_PER_SECOND)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    @abstractmethod
    def _table(self) -> RenderableType:
        """Return the table as it stands."""
