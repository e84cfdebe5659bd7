"""Whether a network that a user names is the one that a benchmark is computed with."""

from pathlib import Path

from onegen.weights.hub import HubModel


def is_called(model: str, repository: str) -> bool:
    """Say whether a model is this repository of the hub, or a folder of the repository's name.

    Scores by another network are computed all the same, but do not stand beside the paper's.
    """
    if not model or not HubModel(model).is_local:
        return model == repository
    return Path(model).expanduser().name == repository.partition("/")[2]
