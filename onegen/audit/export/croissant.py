"""Croissant: JSON-LD that says what a dataset is, beside the Parquet files it describes. `mlcroissant` reads it.

https://docs.mlcommons.org/croissant/docs/croissant-spec.html
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from onegen.audit.export.formats import Format, Handed, Wishes, licences_of
from onegen.audit.export.parquet import PICTURE, Layout, Tables, write_tables
from onegen.audit.export.samples import Samples

CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification asks for, version 1.0."""


def write(samples: Samples, out: Path, wishes: Wishes) -> Handed:
    """Write Parquet files and the description of them."""
    tables = write_tables(samples, out, wishes.validation)
    text = json.dumps(_described(samples, out, tables), indent=1, ensure_ascii=False)
    (out / "croissant.json").write_text(text + "\n", encoding="utf-8")
    return tables.handed


def _described(samples: Samples, out: Path, tables: Tables) -> dict[str, Any]:
    """Return the JSON-LD of the dataset."""
    card = samples.card
    return {
        "@context": dict(CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": card.name,
        "description": f"{tables.handed.samples} samples of {card.name}, {samples.told()}. Made by onegen. Each row "
        f"has the licence, attribution and source of its image.",
        "license": licences_of(tables.licences),
        # Unknown while a dataset is being built.
        "version": _version(samples.version),
        "sameAs": f"urn:sha256:{samples.version or ''}",
        "distribution": [_file_set(split) for split in sorted(tables.files)],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": split,
                "name": split,
                "description": f"{tables.handed.counts[split]} samples, in {len(files)} files",
                "key": {"@id": f"{split}/key"},
                "field": _fields(split, Layout.of(samples).schema()),
            }
            for split, files in sorted(tables.files.items())
        ],
        "cr:isLiveDataset": not samples.is_whole,
    }


def _version(digest: str | None) -> str:
    """Return a version as the specification asks for it, three numbers of the first digits of digest and takedowns."""
    own, _, takedowns = (digest or "0").partition("+")
    return f"1.{int(takedowns[:4] or '0', 16)}.{int(own[:8], 16)}"


def _file_set(split: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"files-{split}",
        "name": f"files-{split}",
        "description": "Parquet files, one a shard",
        "encodingFormat": "application/x-parquet",
        "includes": f"data/{split}-*.parquet",
    }


def _fields(split: str, schema: pa.Schema) -> list[dict[str, Any]]:
    """Return the columns of a table as fields; lists of records are given as they stand in Parquet."""
    return [
        {
            "@type": "cr:Field",
            "@id": f"{split}/{column.name}",
            "name": f"{split}/{column.name}",
            "dataType": _type(column.type),
            **(
                {"repeated": True}
                if pa.types.is_list(column.type) and not pa.types.is_struct(column.type.value_type)
                else {}
            ),
            "source": {
                "fileSet": {"@id": f"files-{split}"},
                "extract": {"column": column.name},
                **({"transform": {"jsonPath": "bytes"}} if column.type == PICTURE else {}),
            },
        }
        for column in schema
        if not pa.types.is_binary(column.type) and not _is_records(column.type)
    ]


def _is_records(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) and pa.types.is_struct(kind.value_type)


def _type(kind: pa.DataType) -> str:
    if kind == PICTURE:
        return "sc:ImageObject"
    if pa.types.is_list(kind):
        return _type(kind.value_type)
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"


FORMAT = Format(
    "croissant",
    "Parquet, and JSON-LD that describes it to dataset search and mlcroissant",
    write,
    'mlcroissant.Dataset("{out}/croissant.json").records("train")',
)
