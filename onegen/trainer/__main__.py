"""One rank of a run: `torchrun --nproc-per-node 8 -m onegen.trainer RECIPE --data DATASET --out RUN`.

`onegen train` is the same for one process.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from onegen.config.training import load_training, training_path
from onegen.errors import ConfigError, Stopped
from onegen.trainer.trainer import train


def main(arguments: Sequence[str] | None = None) -> int:
    """Train on this rank; returns the exit code: 0, 2 for what must be mended, 3 for a run that goes on."""
    parser = argparse.ArgumentParser(prog="python -m onegen.trainer", description=__doc__)
    parser.add_argument("recipe", metavar="RECIPE")
    parser.add_argument("--data", action="append", required=True, metavar="DATASET")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN")
    parser.add_argument("--loader-workers", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "cuda"))
    options = parser.parse_args(arguments)
    try:
        config = load_training(training_path(options.recipe))
        train(config, options.data, options.out, workers=options.loader_workers, device=options.device, say=_say)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Stopped as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 3
    return 0


def _say(line: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
