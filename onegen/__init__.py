"""onegen: make the One-Gen dataset, and train, sample and evaluate OneDiffusion from it."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what is offered here when it is asked for: `import onegen` alone stays free of arrays and pictures."""
    if name == "decoder":
        from onegen.shards.decoder import decoder

        return decoder
    raise AttributeError(f"module 'onegen' has no attribute {name!r}")
