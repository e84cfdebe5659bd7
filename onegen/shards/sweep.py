"""Bring the files of a dataset in line with its manifests: remove orphans, and give up shards that lost a file.

What users put beside is theirs: only names of our own pattern are removed, and no link is followed. docs/contract.md,
rule 8.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from onegen.sample import PACKED
from onegen.shards.dataset import Dataset, folder, is_own_file


@dataclass(frozen=True)
class Swept:
    """What a sweep found: `orphans`, files that no manifest named, and `lost`, files that were named and not there."""

    orphans: tuple[str, ...]
    lost: tuple[str, ...]


def sweep(dataset: Dataset) -> Swept:
    """Delete orphans and half-written files, and the manifests of shards whose files are not all there.

    Those shards are made again by the build that sweeps. Only for the holder of the lease.
    """
    dataset.store.clear_temporary()
    orphans: list[str] = []
    lost: list[str] = []
    for column in [*dataset.columns(), PACKED]:
        if not dataset.store.is_link(folder(column)):
            missing, left = _sweep_column(dataset, column)
            lost += missing
            orphans += left
    return Swept(tuple(orphans), tuple(lost))


def sweep_columns(dataset: Dataset, columns: Iterable[str]) -> None:
    """Delete what workers that are gone left of columns whose shards were made by others. No worker may run."""
    dataset.store.clear_temporary()
    for column in columns:
        if not dataset.store.is_link(folder(column)):
            _sweep_column(dataset, column)


def _sweep_column(dataset: Dataset, column: str) -> tuple[list[str], list[str]]:
    """Return the files of a column that are named and absent, and those that were there and not named."""
    present = set(dataset.store.names(folder(column)))
    named: set[str] = set()
    lost: list[str] = []
    commits = dataset.commits(column, "files")
    for shard, files in zip(commits.column("shard").to_pylist(), commits.column("files").to_pylist(), strict=True):
        missing = sorted(set(files) - present)
        lost += [f"{folder(column)}/{name}" for name in missing]
        if missing:
            dataset.delete_manifest(column, shard)
        else:
            named |= set(files)
    orphans = [f"{folder(column)}/{name}" for name in sorted(present - named) if is_own_file(column, name)]
    orphans = [name for name in orphans if not dataset.store.is_link(name)]
    for name in orphans:
        dataset.store.delete(name)
    return lost, orphans
