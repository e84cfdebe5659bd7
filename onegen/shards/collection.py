"""A collection on a store: `collection.json` at the top, and beside it the folder of each dataset. docs/contract.md."""

from pydantic import ValidationError

from onegen.config.collection import Collection
from onegen.errors import ConfigError
from onegen.shards.dataset import CARD, COLLECTION, Dataset
from onegen.shards.manifest import explain_record
from onegen.storage import open_store
from onegen.storage.store import Store


def read_collection(store: Store) -> Collection | None:
    """Return the collection a store holds, None where it holds none; raises ConfigError where it does not read."""
    if not store.exists(COLLECTION):
        return None
    try:
        return Collection.model_validate_json(store.read(COLLECTION))
    except ValidationError as error:
        raise ConfigError(
            f"{store.url}/{COLLECTION} must be what `onegen build COLLECTION OUT` writes, and does not read as that "
            f"({explain_record(Collection, error)}). Build the collection again: what is there is kept."
        ) from error


def write_collection(store: Store, collection: Collection) -> None:
    """Say in a store what collection its datasets are of; raises ConfigError where it holds a dataset, or another."""
    if store.exists(CARD):
        raise ConfigError(f"OUT of a collection must hold no dataset itself, got {store.url} with a {CARD}.")
    there = read_collection(store)
    if there is not None and there.name != collection.name:
        raise ConfigError(
            f"{store.url} must hold one collection, got {collection.name!r}, and it holds {there.name!r}. Use another "
            f"OUT."
        )
    store.write(COLLECTION, collection.model_dump_json(indent=1).encode() + b"\n")


def dataset_of(store: Store, name: str) -> Dataset:
    """Return one dataset of the collection in a store; it need not have been built yet."""
    return Dataset(open_store(f"{store.url}/{name}"))
