"""The command line: the list of verbs, and the guard that turns what can go wrong into a message and an exit code.

Verbs live in the files beside this one, a group a file. Heavy imports happen inside them, so that --help answers at
once. Exit codes: 0 done; 1 finished, with more failures than the recipe allows, or defects found; 2 usage,
configuration or stale settings; 3 stopped early; 130 Ctrl-C.
"""

import functools
import shlex
import sys
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec

import typer
from typer.core import TyperCommand, TyperGroup

from onegen import __version__
from onegen.cli import audit, build, data, handing, models
from onegen.cli import eval as evaluation
from onegen.cli.constraints import constraints
from onegen.cli.doctor import doctor
from onegen.cli.exit_codes import ExitCode
from onegen.cli.group import group
from onegen.cli.growth import purge, takedown
from onegen.cli.sample import sample
from onegen.cli.sizes import sizes
from onegen.cli.train import train
from onegen.cli.tune import tune
from onegen.errors import ConfigError, LeaseHeld, Stopped, Unavailable
from onegen.eval.table import PROTOCOLS

EXTRAS = {
    **dict.fromkeys(
        ("torch", "diffusers", "transformers", "safetensors", "tokenizers", "accelerate", "matplotlib"), "torch"
    ),
    **dict.fromkeys(("peft", "tensorboard"), "train"),
    **dict.fromkeys(("ai_edge_litert", "dlib", "h5py", "onnx", "scipy"), "annotators"),
    "plotly": "audit",
    "obstore": "stores",
    "ray": "ray",
    "webdataset": "demo",
    "skimage": "eval",
}
"""Packages that an extra brings, by the extra."""
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
            if error.name not in EXTRAS:
                raise
            _leave(
                f"error: this needs the package {error.name}. Install it with: "
                f"pip install 'onegen[{EXTRAS[error.name]}]'",
                ExitCode.USAGE,
            )
        except (Stopped, LeaseHeld, Unavailable) as error:
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


def _bare_flags(params: list[Any]) -> list[Any]:
    """Return the options of a command; those that take no value, -h among them, name no type in its help."""
    for param in params:
        if getattr(param, "is_bool_flag", False) and param.metavar is None:
            param.metavar = ""
    return params


class Verb(TyperCommand):
    """A command whose help shows a flag as what is typed."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return arguments and options."""
        return _bare_flags(list(super().get_params(ctx)))


class Verbs(TyperGroup):
    """A group of commands, with the same help."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return arguments and options."""
        return _bare_flags(list(super().get_params(ctx)))


app = typer.Typer(
    name="onegen",
    cls=Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP,
    help="Make the One-Gen dataset, and train, sample and evaluate OneDiffusion from it.",
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"onegen {__version__}")
        raise typer.Exit()


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


for _verb in (
    build.build,
    build.retry,
    doctor,
    tune,
    sizes,
    data.status,
    data.failures,
    data.verify,
    data.show,
    train,
    audit.audit,
    audit.query,
    audit.browse,
    sample,
    constraints,
    handing.export,
    handing.subset,
    handing.compare,
    takedown,
    purge,
    group,
):
    app.command(cls=Verb)(guarded(_verb))

models_app = typer.Typer(
    cls=Verbs, invoke_without_command=True, help="Pretrained weights: what is here, and fetch what is not."
)
models_app.callback()(guarded(models.models))
models_app.command(cls=Verb)(guarded(models.fetch))
app.add_typer(models_app, name="models")

eval_app = typer.Typer(cls=Verbs, no_args_is_help=True, help="The paper's tables, from any model's pictures.")
for _name in PROTOCOLS:
    _protocol = typer.Typer(cls=Verbs, invoke_without_command=True)
    _protocol.callback()(guarded(evaluation.run_verb(_name)))
    _protocol.command(name="score", cls=Verb)(guarded(evaluation.score_verb(_name)))
    if _name == "geneval":
        _protocol.command(cls=Verb)(guarded(evaluation.prompts))
    eval_app.add_typer(_protocol, name=_name)
eval_app.command(cls=Verb)(guarded(evaluation.report))
app.add_typer(eval_app, name="eval")


def main() -> None:
    """Run the command line."""
    app()
