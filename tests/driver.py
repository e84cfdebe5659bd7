"""A build in a process of its own, for tests that kill it: `python -m tests.driver`, its orders as JSON on stdin."""

import json
import os
import sys

from onegen.build import Options, build
from onegen.config import Recipe
from onegen.shards.manifest import Manifest
from onegen.shards.store import LocalStore, Store
from tests.broken_stores import KillingStore
from tests.tiny import Ears


class LoggingEars(Ears):
    """Appends each commit to the dataset's log, as the command's own listener does."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def committed(self, step: str, manifest: Manifest) -> None:
        self._store.append("log/commits.jsonl", json.dumps([step, manifest.column, manifest.shard]) + "\n")


def main() -> None:
    """Do what stdin says: the recipe, the store's url (or what a KillingStore is made from), and options."""
    orders = json.load(sys.stdin)
    said = orders["store"]
    store = LocalStore(said) if isinstance(said, str) else KillingStore(*said)
    options = Options(**{"workers": 0, **{k: _frozen(v) for k, v in orders.get("options", {}).items()}})
    ears = LoggingEars(store) if orders.get("logs") else Ears()
    print(build(Recipe.model_validate(orders["recipe"]), store, options, ears).digest)


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


if __name__ == "__main__":
    os.environ.pop("PYTEST_CURRENT_TEST", None)
    main()
