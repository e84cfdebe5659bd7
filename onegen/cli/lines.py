"""How the command line prints one line of text to a rich console."""

from rich.console import Console
from rich.text import Text


def print_line(console: Console, line: str | Text) -> None:
    """Print a line as it is: paths are neither broken nor read as markup, numbers not coloured."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)
