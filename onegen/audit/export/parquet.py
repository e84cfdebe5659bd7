"""Samples as Parquet: images and maps as bytes in the rows, values in typed columns.

HF `datasets` and Croissant read it. The schema's metadata says which columns are pictures, in the way `datasets` does:
nobody needs to be told features.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from onegen.audit.export.formats import Handed, split_of
from onegen.audit.export.samples import Picture, Sample, Samples
from onegen.audit.readable import readable
from onegen.sample import IMAGE, SELECT
from onegen.shards.dataset import file_of, folder
from onegen.shards.index import BASE
from onegen.shards.views import OTHERS, split_name

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""How `datasets` stores an image."""
FACTS: Mapping[str, pa.DataType] = {
    "width": pa.int32(),
    "height": pa.int32(),
    "uri": pa.string(),
    "licence": pa.string(),
    "attribution": pa.string(),
    "original_caption": pa.string(),
}
"""What goes with every image: its size, and where it is from and what may be done with it."""
_BATCH_BYTES = 32 * 1024 * 1024
"""Rows are written when their pictures fill this: memory is flat, and viewers of the hub read groups of such a size."""
_BATCH_ROWS = 100
SAMPLE_FIELDS: Mapping[str, pa.DataType] = {"instruction": pa.string(), "subject": pa.string()}


@dataclass(frozen=True)
class Layout:
    """The columns of the table: of each column of the dataset its fields and its picture parts.

    A field of the name of its column, or the only one, is called as the column; others `column_field`.
    """

    fields: Mapping[str, Mapping[str, pa.DataType]]
    parts: Mapping[str, tuple[str, ...]]
    num_images: int

    @classmethod
    def of(cls, samples: Samples) -> "Layout":
        """Return the layout: what the indexes and their rows say, in all shards that are handed on."""
        fields: dict[str, dict[str, pa.DataType]] = {}
        parts: dict[str, dict[str, None]] = {}
        for column in samples.columns:
            if column in (IMAGE, SELECT):
                continue
            fields[column], parts[column] = {}, {}
            for shard in samples.shards:
                schema, names = _described(samples, column, shard)
                fields[column] |= {f.name: f.type for f in schema if f.name not in BASE and f.name != OTHERS}
                parts[column] |= dict.fromkeys(sorted(names))
        return cls(fields, {c: tuple(n) for c, n in parts.items()}, _num_images(samples))

    def prefix(self, index: int) -> str:
        """Return what the columns of a further image start with."""
        return f"img{index}_" if index else ""

    def schema(self) -> pa.Schema:
        """Return the arrow schema, with what `datasets` wants to know in its metadata."""
        types: dict[str, pa.DataType] = {"key": pa.string()}
        for index in range(self.num_images):
            prefix = self.prefix(index)
            types |= {f"{prefix}image": PICTURE, **{prefix + name: kind for name, kind in FACTS.items()}}
            for column, own in self.fields.items():
                types |= {prefix + part_column(column, part): part_type(part) for part in self.parts[column]}
                types |= {prefix + field_column(column, name): kind for name, kind in own.items()}
        if self.num_images > 1:
            types |= SAMPLE_FIELDS
        features = {name: _feature(kind) for name, kind in types.items()}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        return pa.schema(list(types.items()), metadata=metadata)

    def row(self, sample: Sample) -> dict[str, Any]:
        """Return a sample as a row."""
        row: dict[str, Any] = {"key": sample.key}
        for picture in sample.pictures:
            row |= {self.prefix(picture.index) + name: value for name, value in self._of_picture(picture).items()}
        return row | {name: sample.pictures[0].facts.get(name) for name in SAMPLE_FIELDS}

    def _of_picture(self, picture: Picture) -> dict[str, Any]:
        facts = picture.facts
        row: dict[str, Any] = {"image": {"bytes": picture.image(), "path": picture.name}}
        row |= {name: facts.get(name) for name in FACTS} | {"original_caption": facts.get("caption")}
        for column, own in self.fields.items():
            values = picture.values(column)
            row |= {field_column(column, name): values.get(name) for name in own}
            for part in picture.parts(column):
                data = picture.part(column, part)
                is_picture = part_type(part) == PICTURE
                row[part_column(column, part)] = (
                    {"bytes": data, "path": f"{picture.key}.{part}"} if is_picture else data
                )
        return row


def field_column(column: str, name: str) -> str:
    """Return what a field of a column is called in the table."""
    return column if name == column else f"{column}_{name}"


def part_column(column: str, part: str) -> str:
    """Return what a part of a column is called in the table: `depth`, or `segmentation_masks` where names differ."""
    stem = part.rpartition(".")[0].replace(".", "_") or part
    return f"{column}_map" if stem == column else f"{column}_{stem}"


def part_type(part: str) -> pa.DataType:
    """Return how a part is stored: pictures as such, other files as bytes."""
    return PICTURE if part.endswith((".png", ".jpg", ".webp")) else pa.binary()


def _described(samples: Samples, column: str, shard: int) -> tuple[pa.Schema, set[str]]:
    manifest = samples.dataset.require_manifest(column, shard)
    name = f"{folder(column)}/{file_of(manifest, '.parquet')}"
    with readable(name), samples.dataset.store.open(name) as file:
        table = pq.ParquetFile(file).read(columns=["parts.list.element.name"], use_threads=False)
        schema = pq.read_schema(file)
    names = {part["name"] for parts in table.column("parts").to_pylist() for part in parts or ()}
    return schema, {split_name(name)[1] for name in names}


def _num_images(samples: Samples) -> int:
    """Return how many images the largest sample has."""
    if samples.card.kind == "image":
        return 1
    largest = 0
    for shard in samples.shards:
        with readable(f"the index of shard {shard:06d}"):
            rows = samples.dataset.rows(samples.dataset.require_manifest(IMAGE, shard))
        largest = max(largest, *(len(row.values.get(OTHERS) or ()) for row in rows), 0)
    return 1 + largest


def _feature(kind: pa.DataType) -> Any:
    """Return a type as `datasets` writes it."""
    if kind == PICTURE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    names = {"double": "float64", "float": "float32"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}


@dataclass
class Tables:
    """What was written: the files by split with their rows, and how many samples carry which licence."""

    handed: Handed = field(default_factory=Handed)
    files: dict[str, dict[str, int]] = field(default_factory=dict)
    licences: dict[str, int] = field(default_factory=dict)


def write_tables(samples: Samples, out: Path, validation: float) -> Tables:
    """Write `data/SPLIT-SHARD.parquet` into a folder, one shard after the other, for splits that have a sample."""
    layout, tables = Layout.of(samples), Tables()
    schema = layout.schema()
    (out / "data").mkdir()
    for shard in samples.shards:
        with contextlib.ExitStack() as stack:
            writers: dict[str, _Writer] = {}
            for sample in samples.shard(shard):
                split = split_of(sample.key, validation, sample.pictures[0].facts)
                if split not in writers:
                    path = out / "data" / f"{split}-{shard:06d}.parquet"
                    writers[split] = _Writer(stack.enter_context(pq.ParquetWriter(path, schema, compression="zstd")))
                writers[split].add(layout.row(sample))
                tables.handed.samples += 1
                tables.handed.images += len(sample.pictures)
                tables.handed.count(split)
                for picture in sample.pictures:
                    licence = picture.facts.get("licence") or "unknown"
                    tables.licences[licence] = tables.licences.get(licence, 0) + 1
            for split, writer in writers.items():
                writer.flush()
                tables.files.setdefault(split, {})[f"data/{split}-{shard:06d}.parquet"] = writer.rows
    return tables


class _Writer:
    """Rows on their way into a Parquet file, a group at a time."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._pending: list[dict[str, Any]] = []
        self._bytes = self.rows = 0

    def add(self, row: dict[str, Any]) -> None:
        self._pending.append(row)
        self.rows += 1
        self._bytes += sum(
            len(value["bytes"]) for value in row.values() if isinstance(value, dict) and "bytes" in value
        )
        if self._bytes > _BATCH_BYTES or len(self._pending) >= _BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        if self._pending:
            self._writer.write_table(pa.Table.from_pylist(self._pending, schema=self._writer.schema))
            self._pending, self._bytes = [], 0
