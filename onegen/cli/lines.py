"""How the command line prints text as it is: lines, commands to type, durations, and consoles that cut nothing."""

import shlex
from typing import TextIO

from rich.console import Console
from rich.text import Text

UNCUT_WIDTH = 100_000
"""Columns of what is no terminal: wider than any line, for a file and a pipe have no edge."""


def make_console(output: TextIO | None = None) -> Console:
    """Return a console on a stream, standard output by default; where that is no terminal, no line is cut or broken."""
    console = Console(file=output)
    return console if console.is_terminal else Console(file=output, width=UNCUT_WIDTH)


def print_line(console: Console, line: str | Text) -> None:
    """Print a line as it is: paths are neither broken nor read as markup, numbers not coloured."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def command(*words: str) -> str:
    """Return a command of onegen as it can be typed, in backquotes."""
    return f"`{shlex.join(['onegen', *words])}`"


def duration(seconds: float) -> str:
    """Return seconds as minutes or hours: 1:05, 2:00:00."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
