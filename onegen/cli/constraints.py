"""`onegen constraints`: the versions under which byte identity is promised."""

import typer


def constraints() -> None:
    """Print the exact version of every package that the tests ran with, for pip's --constraint.

    Byte identity between machines is promised under one such file.

    \b
      onegen constraints > constraints.txt
      pip install --constraint constraints.txt 'onegen[demo,ray]'
    """
    from onegen.config.shipped import shipped

    typer.echo(shipped("constraints.txt").read_text(encoding="utf-8"), nl=False)
