"""Which datasets are trained on, however they are named: folders, URLs, stores, shares, collections."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from onegen.errors import ConfigError
from onegen.loader.inventory import TrainingSet
from onegen.shards.collection import dataset_of, read_collection
from onegen.storage import open_store
from onegen.storage.store import Store

Datasets = str | Path | Store | TrainingSet | Mapping[Any, float | None] | Sequence[str | Path | Store | TrainingSet]


def training_sets(datasets: Datasets) -> list[TrainingSet]:
    """Return the datasets to read, those of collections in their place; raises ConfigError for an empty collection."""
    if isinstance(datasets, Mapping):
        named = [TrainingSet(_url(place), share) for place, share in datasets.items()]
    else:
        alone = isinstance(datasets, str | Path | Store | TrainingSet)
        places: Iterable[Any] = [datasets] if alone else datasets  # type: ignore[assignment]
        named = [place if isinstance(place, TrainingSet) else TrainingSet(_url(place)) for place in places]
    return [inner for spec in named for inner in _members(spec)]


def _members(spec: TrainingSet) -> list[TrainingSet]:
    """Return the datasets of a collection with their shares, those that are not built yet left out; else the set."""
    store = open_store(spec.url)
    collection = read_collection(store)
    if collection is None:
        return [spec]
    shares = collection.shares()
    whole = 1.0 if spec.share is None else spec.share
    found = [
        TrainingSet(dataset.store.url, whole * shares[name], tuple(member.tasks) if member.tasks else spec.tasks, name)
        for name, member in collection.datasets.items()
        if (dataset := dataset_of(store, name)).card() is not None
    ]
    if not found:
        raise ConfigError(f"collection must have a dataset that is built, got none in {spec.url}. Run `onegen build`.")
    return found


def _url(place: str | Path | Store) -> str:
    return place.url if isinstance(place, Store) else str(place)
