"""`onegen tune`: measure a recipe's stages here, and say what to give them."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from onegen.cli.build import RecipeArgument


def tune(
    recipe: RecipeArgument,
    sample: Annotated[int, typer.Option(min=2, help="Items of the source to measure with.")] = 64,
    items: Annotated[
        int | None, typer.Option(min=1, help="Items of the whole source.", show_default="counted in the source")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to build the sample, removed afterwards.", show_default="the system's"),
    ] = None,
) -> None:
    """Measure each stage of a recipe on this machine; propose batch sizes, GPU shares and workers, and say the cost.

    Builds a sample by one worker a stage, then runs each stage again with larger batches, and on a GPU with more
    threads a worker, while that makes it faster. Nothing of it stays but the advice. Run it on a machine like those of
    the cluster; `num_gpus` and `batch_size` go into the recipe, and change no byte of the output but within the
    tolerance of a stage that is not exact.

    \b
      onegen tune pipelines/quickstart.yaml
      onegen tune image_to_image_paper --sample 256 --items 500000
    """
    from onegen.build.tune import tune as measure
    from onegen.cli.tables import print_advice
    from onegen.config.recipe import load_recipe
    from onegen.config.shipped import recipe_path
    from onegen.storage.local import LocalStore

    loaded = load_recipe(recipe_path(recipe))
    with tempfile.TemporaryDirectory(prefix="onegen-tune-", dir=folder) as scratch:
        store = LocalStore(f"{scratch}/sample")
        print_advice(list(measure(loaded, store, sample, items, lambda line: typer.echo(line, err=True))))
