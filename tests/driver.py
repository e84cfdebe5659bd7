"""A build in a process of its own, for tests that kill it: `python -m tests.driver`, its orders as JSON on stdin."""

import json
import os
import sys
from collections.abc import Mapping

from onegen.build.build import build
from onegen.build.work import Options
from onegen.config.recipe import Recipe
from onegen.shards.manifest import Manifest
from onegen.storage import open_store
from onegen.storage.local import LocalStore
from onegen.storage.store import Store
from tests.broken_stores import KillingStore
from tests.tiny import Ears

NOBODY = 65534
"""A user whom permissions bind, unlike root."""


class LoggingEars(Ears):
    """Appends each commit to the dataset's log, as the command's own listener does."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def committed(self, step: str, manifest: Manifest) -> None:
        self._store.append("log/commits.jsonl", json.dumps([step, manifest.column, manifest.shard]) + "\n")


class TellingEars(Ears):
    """Prints a line for every commit and every look at the workers, for a test that counts them."""

    def committed(self, step: str, manifest: Manifest) -> None:
        print("commit", manifest.column, manifest.shard, flush=True)

    def waiting(self, step: str, workers: Mapping[int, str]) -> None:
        print("wait", step, flush=True)


def main() -> None:
    """Do what stdin says: the recipe, the store's url (or what a KillingStore is made from), and options."""
    orders = json.load(sys.stdin)
    said = orders["store"]
    store = LocalStore(said) if isinstance(said, str) else KillingStore(*said)
    options = Options(**{"workers": 0, **{k: _frozen(v) for k, v in orders.get("options", {}).items()}})
    ears = {"log": LoggingEars(store), "tell": TellingEars()}.get(orders.get("ears", ""), Ears())
    if orders.get("as_nobody") and os.geteuid() == 0:
        # Here and not before: nobody may be unable to read this interpreter and its packages, so all that a build
        # imports on its way is imported by one.
        build(Recipe.model_validate(orders["recipe"]), open_store("memory://warm"), Options(workers=0), Ears())
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    print("digest", build(Recipe.model_validate(orders["recipe"]), store, options, ears).digest)


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


if __name__ == "__main__":
    os.environ.pop("PYTEST_CURRENT_TEST", None)
    main()
