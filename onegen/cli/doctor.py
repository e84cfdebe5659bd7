"""`onegen doctor`: what a recipe needs, what is there, and what is missing."""

import typer

from onegen.cli.build import AddressOption, ExecutorOption, OutArgument, RecipeArgument, kind_of
from onegen.cli.data import reading
from onegen.cli.exit_codes import ExitCode


def doctor(
    recipe: RecipeArgument,
    out: OutArgument,
    executor: ExecutorOption = None,
    address: AddressOption = None,
) -> ExitCode:
    """Say what a recipe needs and what of it this machine, or each node of a cluster, has; exit 1 where it lacks any.

    Looks at packages, source, weights of every annotator, steps, OUT, and room and GPUs for each step's workers, names
    all that is missing with the way out, and changes nothing. Of a collection it asks dataset by dataset.

    \b
      onegen doctor pipelines/quickstart.yaml demo/dataset
      onegen doctor recipe.yaml /shared/out --address 10.0.0.1:6379
    """
    from onegen.build.doctor import examine
    from onegen.build.work import Options
    from onegen.cli.tables import print_check
    from onegen.config.collection import is_collection, recipes_in
    from onegen.config.shipped import recipe_path
    from onegen.shards.collection import dataset_of

    path = recipe_path(recipe)
    options = Options(kind_of(executor, address), address)
    missing = 0
    with reading(out) as opened:
        for name, loaded in recipes_in(path).items():
            store = opened.store
            if is_collection(path):
                typer.echo(f"{name}:")
                store = dataset_of(store, name).store
            # Printed as they come: a cluster may take a minute to answer.
            for check in examine(loaded, store, options):
                print_check(check)
                missing += not check.is_well
    if missing:
        typer.echo(f"{missing} thing(s) missing")
        return ExitCode.FAILURES
    typer.echo("nothing is missing")
    return ExitCode.DONE
