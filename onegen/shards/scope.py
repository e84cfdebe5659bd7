"""Which fields the columns of a dataset have: what an expression over them may name."""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from onegen.shards.dataset import Dataset, file_of, folder
from onegen.shards.index import BASE
from onegen.shards.manifest import Manifest
from onegen.shards.views import OTHERS


def fields_of(dataset: Dataset, manifest: Manifest) -> dict[str, pa.DataType]:
    """Return the fields of a committed shard beside those that every index has, `others` among them."""
    with dataset.store.open(f"{folder(manifest.column)}/{file_of(manifest, '.parquet')}") as file:
        schema = pq.read_schema(file)
    return {field.name: field.type for field in schema if field.name not in BASE}


def scope_of(dataset: Dataset, columns: Iterable[str]) -> dict[str, dict[str, pa.DataType]]:
    """Return the columns that have a committed shard, with the fields that its index says of one image."""
    scope: dict[str, dict[str, pa.DataType]] = {}
    for column in columns:
        manifest = next(dataset.manifests(column), None)
        if manifest is not None:
            fields = fields_of(dataset, manifest)
            scope[column] = {name: kind for name, kind in fields.items() if name != OTHERS}
    return scope
