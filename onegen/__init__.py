"""onegen: make the One-Gen dataset, and train, sample and evaluate OneDiffusion from it."""

from typing import Any

__version__ = "0.1.0"


def decoder(name: str, data: bytes) -> Any:
    """Return a part of a packed sample as what it is: a handler for `webdataset.WebDataset(...).decode`.

    An array, a dict for JSON, None for what is no part of ours; see `onegen.shards.decoder`.
    """
    # Here, so that the package alone stays free of arrays and pictures.
    from onegen.shards import decoder as parts

    return parts.decode(name, data)
