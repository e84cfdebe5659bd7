"""The command line: the list of verbs, and the guard that turns what can go wrong into a message and an exit code.

Verbs live in the files beside this one, a group a file. Heavy imports happen inside them, so that --help answers at
once. Exit codes: 0 done; 1 finished, with more failures than the recipe allows, or defects found; 2 usage,
configuration or stale settings; 3 stopped early; 130 Ctrl-C.
"""

import functools
import shlex
import sys
from collections.abc import Callable
from typing import ParamSpec

import typer

from onegen.cli import build, data, models
from onegen.cli.exit_codes import ExitCode
from onegen.cli.sample import sample
from onegen.errors import ConfigError, LeaseHeld, Stopped

TORCH_PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "tokenizers", "accelerate", "matplotlib")
HELP = {"help_option_names": ["-h", "--help"]}
P = ParamSpec("P")


def guarded(verb: Callable[P, ExitCode | None]) -> Callable[P, None]:
    """Return a verb that leaves with its exit code; anything but a known way to end is a bug, with its traceback."""

    @functools.wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = verb(*args, **kwargs)
        except ConfigError as error:
            _leave(f"error: {error}", ExitCode.USAGE)
        except ModuleNotFoundError as error:
            if error.name not in TORCH_PACKAGES:
                raise
            _leave(
                f"error: this needs the package {error.name}. Install it with: pip install 'onegen[torch]'",
                ExitCode.USAGE,
            )
        except (Stopped, LeaseHeld) as error:
            _leave(f"stopped: {error}", ExitCode.STOPPED)
        except KeyboardInterrupt:
            command = shlex.join(["onegen", *sys.argv[1:]])
            _leave(f"\nstopped; committed shards are kept. Go on with:\n  {command}", ExitCode.INTERRUPTED)
        else:
            if code:
                raise typer.Exit(code)

    return run


def _leave(message: str, code: ExitCode) -> None:
    typer.echo(message, err=True)
    raise typer.Exit(code) from None


app = typer.Typer(
    name="onegen",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP,
    help="Make the One-Gen dataset, and train, sample and evaluate OneDiffusion from it.",
)
for _verb in (build.build, build.retry, data.status, data.failures, data.verify, data.show, sample):
    app.command()(guarded(_verb))

models_app = typer.Typer(invoke_without_command=True, help="Pretrained weights: what is here, and fetch what is not.")
models_app.callback()(guarded(models.models))
models_app.command()(guarded(models.fetch))
app.add_typer(models_app, name="models")


def main() -> None:
    """Run the command line."""
    app()
