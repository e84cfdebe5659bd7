"""`onegen train`: train OneDiffusion from datasets, and go on where a run stopped. Heavy imports happen inside."""

from pathlib import Path
from typing import Annotated

import typer

from onegen.cli.exit_codes import ExitCode
from onegen.errors import ConfigError


def train(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="YAML file, or one that ships: cpu_tiny.", show_default=False),
    ],
    data: Annotated[
        list[str], typer.Option(metavar="DATASET", help="Dataset or collection to train on. May be repeated.")
    ],
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder of the run: checkpoints, metrics, grids, model.")],
    loader_workers: Annotated[
        int, typer.Option(min=0, help="Processes that read ahead, a rank; 0 reads in this one.")
    ] = 0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda", show_default="cuda where there is one")] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print parameters, memory, operations and the plan of an epoch; train nothing."),
    ] = False,
) -> ExitCode:
    """Train a network as a recipe says, or go on where the run in RUN stopped.

    Run the same command again after Ctrl-C or a crash: on a CPU the weights end as if nothing had happened, to the bit.
    On several GPUs torchrun starts the ranks; `python -m onegen.trainer` is this command for it.

    \b
      onegen train cpu_tiny --data demo/dataset --out run
      torchrun --nproc-per-node 8 -m onegen.trainer stage2 --data one_gen --out run
      onegen sample --model run/model --task text2image --prompt "a red ball" --out ball.png
    """
    from onegen.config.training import load_training, training_path

    config = load_training(training_path(recipe))
    if device not in (None, "cpu", "cuda"):
        raise ConfigError(f"--device must be cpu or cuda, got {device!r}.")
    if dry_run:
        import os

        from onegen.trainer.dry_run import describe

        typer.echo(describe(config, data, int(os.environ.get("WORLD_SIZE", "1"))))
        return ExitCode.DONE
    from onegen.trainer.trainer import train as run

    model = run(config, data, out, workers=loader_workers, device=device, say=lambda line: typer.echo(line, err=True))
    typer.echo(f"model {model}")
    return ExitCode.DONE
