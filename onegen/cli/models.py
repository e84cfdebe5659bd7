"""`onegen models`: which pretrained weights annotators use, and bring those that are not here."""

import os
from pathlib import Path
from typing import Annotated

import typer


def models(context: typer.Context) -> None:
    """List the pretrained weights that annotators use, with licence and SHA-256, and whether they are ready.

    First those out of packages, then, by column and backend, those of a hub: what they weigh, what their licence asks,
    the extra that runs them.
    """
    if context.invoked_subcommand is None:
        from onegen.annotators.shared.hub_backends import hub_backends
        from onegen.cli.tables import print_hub_backends, print_models
        from onegen.weights.fetch import shipped
        from onegen.weights.fetch import status as read_models
        from onegen.weights.folder import models_folder

        print_models([*read_models(), shipped()], models_folder())
        print_hub_backends(hub_backends())


def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Packages, annotators, recipes, or repositories of the hub (owner/name).",
            show_default="all packages but optional ones",
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Fill this folder, to be copied to where there is no network."),
    ] = None,
) -> None:
    """Bring weights into the model folder: out of pinned packages, and of a recipe those of the hub too.

    Every file is checked against its SHA-256. The folder is ONEGEN_MODELS, else the user's cache. Afterwards everything
    works offline: copy the folder, and set ONEGEN_MODELS to it.
    """
    from onegen.config.fetching import fetch_named
    from onegen.weights.folder import MODELS

    if to is not None:
        os.environ[MODELS] = str(to)
    fetch_named(names or (), typer.echo)
    if to is not None:
        typer.echo(f"in {to}; where it is copied to, set {MODELS} to it")
