"""What the command line says to a shell when it ends; every verb and the guard around it speak these."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILURES = 1
    """Finished, with more failures than the recipe allows, or with defects found."""
    USAGE = 2
    """Usage, configuration or stale settings: nothing committed was changed."""
    STOPPED = 3
    """Stopped early: what is committed stays, and the same command goes on."""
    INTERRUPTED = 130
    """Ctrl-C."""
