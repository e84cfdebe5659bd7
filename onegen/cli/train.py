"""`onegen train`: train OneDiffusion from datasets, and go on where a run stopped. Heavy imports happen inside."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from onegen.cli.exit_codes import ExitCode
from onegen.cli.train_progress import TrainProgress
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
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Ranks that Ray Train starts; without it, this process is the only one."),
    ] = None,
    address: Annotated[
        str | None, typer.Option(metavar="RAY", help="Ray cluster they run on, e.g. auto.", show_default="this machine")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda", show_default="cuda where there is one")] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print parameters, memory, operations and the plan of an epoch; train nothing."),
    ] = False,
) -> ExitCode:
    """Train a network as a recipe says, or go on where the run in RUN stopped.

    Run the same command again after Ctrl-C or a crash: on a CPU the weights end as if nothing had happened, to the bit.
    On several GPUs Ray Train starts the ranks with --workers, or torchrun, for which `python -m onegen.trainer` is this
    command. All take the same steps, and each goes on with a run of the others.

    \b
      onegen train cpu_tiny --data demo/dataset --out run
      onegen train stage2 --data one_gen --out run --workers 8 --address auto
      torchrun --nproc-per-node 8 -m onegen.trainer stage2 --data one_gen --out run
      onegen sample --model run/model --task text2image --prompt "a red ball" --out ball.png
    """
    from onegen.config.training import load_training, training_path

    config = load_training(training_path(recipe))
    if device not in (None, "cpu", "cuda"):
        raise ConfigError(f"--device must be cpu or cuda, got {device!r}.")
    if address is not None and workers is None:
        raise ConfigError("--address must stand with --workers, the number of ranks, got none.")
    if dry_run:
        import os

        from onegen.trainer.dry_run import describe

        typer.echo(describe(config, data, workers or int(os.environ.get("WORLD_SIZE", "1"))))
        return ExitCode.DONE
    if workers is None:
        from onegen.trainer.trainer import train as run

        with TrainProgress() as watch:
            model = run(config, data, out, workers=loader_workers, device=device, watch=watch)
    else:
        _require_ray_train()
        from onegen.trainer.ray import train_on_ray

        with TrainProgress() as watch:
            model = train_on_ray(
                config, data, out, ranks=workers, address=address, workers=loader_workers, device=device, watch=watch
            )
    typer.echo(f"model {model}")
    return ExitCode.DONE


def _require_ray_train() -> None:
    """Raise ConfigError where Ray Train cannot be imported: without pandas it says so in words of its own."""
    missing = [name for name in ("ray", "pandas") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"--workers needs the package {missing[0]}. Install it with: pip install 'onegen[ray-train]'; or start the "
            f"ranks with torchrun."
        )
