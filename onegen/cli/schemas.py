"""JSON Schemas of everything a dataset and its recipe hold, generated from the typed records and the arrow schemas.

Those are the truth; `schemas/` is a copy for editors and for other languages, and a test keeps it in step.

    python -m onegen.cli.schemas schemas            write them
    python -m onegen.cli.schemas --check schemas    exit 1 and name the files that are out of date
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from onegen.build.select import SELECT_PROVIDES
from onegen.config.collection import Collection
from onegen.config.recipe import Recipe
from onegen.config.registry import available, find
from onegen.config.training import TrainConfig
from onegen.sample import IMAGE, PACKED, SELECT, STATUSES, Provides
from onegen.shards.dataset import Card
from onegen.shards.index import BASE, IMAGE_FIELDS, MEMBERS
from onegen.shards.manifest import SCHEMA_VERSION, Manifest
from onegen.shards.plan import FILES, PLAN
from onegen.shards.takedowns import ENTRIES
from onegen.shards.views import OTHERS, stored_fields

Schema = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
HASH = "^[0-9a-f]{64}$"
KEY = "^[0-9a-z_-]+$"

NOTES: Mapping[str, str] = {
    "shard": "number of the shard, from 0: with position what joins the columns",
    "position": "row of the shard, from 0",
    "key": "first 20 hex digits of the SHA-256 of the original bytes, or of all that makes a sample of several images; "
    "null where they were never read",
    "kind": "what one sample is",
    "status": "ok: has its values and parts; skipped: not run; filtered: left out by rule; failed: went wrong",
    "reason": "short code; for a skipped row the column and status that stopped it, or `where`",
    "parts": "files in the column's tar: name after the key, where its bytes start, how many, their SHA-256",
    "input_digest": "SHA-256 of what the row was made from",
    "producer": "name@version+weights of what made the column",
    "item": "id of the item in the plan",
    "uri": "of the source file, relative to source_root in dataset.json",
    "sha256": "of the original bytes of a single image",
    "members": "SHA-256 of the original bytes of each image, in order",
    "width": "pixels of the stored image (the first of several, of a pair the target)",
    "height": "pixels of the stored image (the first of several, of a pair the target)",
    "instruction": "of an edit: what leads from the source to the target",
    "subject": "of a subject pair: what both images show; of an identity: whom or what all images show",
    "camera": "of a view of a scene: 4x4 camera-to-world matrix row by row, OpenCV axes, and the focal lengths (x, y) "
    "in shorter sides of the image",
    "dropped_images": "of a set (identity, scene): images it goes on without, each with its number, status and reason; "
    "numbered in the image column as in the plan, in others as in the image column; null where there is none",
    "others": "the same of each further image of the sample, in order (of a pair the source); not for kind image",
    "phash": "64-bit perceptual hash of the stored image",
    "caption": "what stood beside the image",
    "licence": "of the image, by its source or else the recipe",
    "attribution": "whom to thank",
    "duplicate_of": "key of the image kept in this one's place",
    "images": "the item's images, in order: uri from the source root, bytes, and etag or modification time",
    "sidecars": "files that stand beside it: captions, facts, the licence",
    "by": "what the value is matched with: key, digest (of original bytes), uri (a file or an item) or subject",
    "value": "as it was given",
}
"""What the fields of the index and the plan mean; a new field without a note does not generate."""


class _Plain(GenerateJsonSchema):
    """Pydantic's schemas without a title on every field: `Samples Per Shard` teaches nothing."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Say no."""
        return False


def schemas() -> dict[str, Schema]:
    """Return every schema by file name."""
    columns = {
        IMAGE: Provides(fields=IMAGE_FIELDS),
        SELECT: SELECT_PROVIDES,
        **{name: find("annotators", name, {}).provides for name in available("annotators")},  # type: ignore[attr-defined]
    }
    return {
        "recipe.json": _of_record(Recipe, "recipe", "Recipe of a dataset"),
        "collection.json": _of_record(
            Collection, "collection", "Collection of datasets, as YAML and as collection.json"
        ),
        "training.json": _of_record(TrainConfig, "training", "Recipe of a training run"),
        "dataset.json": _of_record(Card, "dataset", "dataset.json: identity card of a dataset"),
        "manifest.json": _of_record(Manifest, "manifest", "Manifest: the commit of one shard of one column"),
        "plan.json": _plan(),
        "takedowns.json": _takedowns(),
        "index.json": _index(columns),
        "key.json": _key(columns),
    }


def write(folder: Path) -> None:
    """Write every schema into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        (folder / name).write_text(_text(schema), encoding="utf-8")


def out_of_date(folder: Path) -> list[str]:
    """Return the names of the files in a folder that are absent, or not as `write` would leave them."""
    stale: list[str] = []
    for name, schema in schemas().items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != _text(schema):
            stale.append(name)
    return stale


def _text(schema: Schema) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _head(name: str, title: str, description: str) -> Schema:
    return {
        "$schema": DRAFT,
        "$id": f"urn:onegen:schema:{SCHEMA_VERSION}:{name}",
        "title": title,
        "description": description,
    }


def _of_record(record: type[BaseModel], name: str, title: str) -> Schema:
    schema = record.model_json_schema(schema_generator=_Plain)
    return _head(name, title, schema.pop("description")) | {key: schema[key] for key in schema if key != "title"}


def _plan() -> Schema:
    head = _head("plan", "Row of a plan", "One item of plan/NNNNNN.parquet; fixed before any work starts.")
    properties = {field.name: _noted(field.name, _arrow(field.type)) for field in PLAN}
    return head | _object(properties, required=list(properties))


def _takedowns() -> Schema:
    text = "One entry of takedowns/*.parquet, whose files are only added: what no reader may show any more."
    head = _head("takedowns", "Entry of a list of takedowns", text)
    properties = {field.name: _noted(field.name, _arrow(field.type)) for field in ENTRIES}
    return head | _object(properties, required=list(properties))


def _index(columns: Mapping[str, Provides]) -> Schema:
    """Describe one row of an index: the base fields at the top, and each column's own under `$defs`."""
    head = _head(
        "index",
        "Row of an index",
        "One plan item in one column. Rows of all columns are joined by shard and position. Each column adds its own "
        "fields: see $defs, where `shards` is the packed view.",
    )
    base = {name: _noted(name, _nullable(_arrow(kind))) for name, kind in BASE.items()}
    for name in ("shard", "position", "kind", "status", "parts", "input_digest", "producer"):
        base[name] = _noted(name, _arrow(BASE[name]))
    base["status"]["enum"] = list(STATUSES)
    base["key"]["pattern"] = KEY
    own = {name: _object(_index_fields(name, _stored(name, provides))) for name, provides in columns.items()}
    packed = [name for name, provides in columns.items() if provides.fields and name != SELECT]
    own[PACKED] = _object({name: {"anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]} for name in packed})
    return head | _object(base, required=list(BASE)) | {"$defs": {name: own[name] for name in sorted(own)}}


def _index_fields(column: str, fields: Mapping[str, pa.DataType]) -> dict[str, Schema]:
    properties = {name: _nullable(_arrow(kind)) for name, kind in fields.items()}
    # Fields of annotators are described by their class, which other languages need not read.
    noted = properties if column in (IMAGE, SELECT) else {OTHERS} & set(properties)
    return {name: _noted(name, schema) if name in noted else schema for name, schema in properties.items()}


def _stored(column: str, provides: Provides) -> dict[str, pa.DataType]:
    """Return all fields a column may have, over all kinds of samples."""
    of_kinds = [stored_fields(column, provides.fields, kind) for kind in ("pair", "identity", "scene")]
    # Where the kinds differ, a scene's say the most of each further image.
    return {name: type_ for of_kind in of_kinds for name, type_ in of_kind.items()}


def _key(columns: Mapping[str, Provides]) -> Schema:
    """Describe the `key.json` of a packed sample; what is not known is left out of it, never null."""
    facts = {name: _noted(name, schema) for name, schema in _known(_stored(IMAGE, columns[IMAGE])).items()}
    for picture in (facts, facts[OTHERS]["items"]["properties"]):
        picture["phash"] |= {"type": "string", "pattern": "^[0-9a-f]{16}$"}
        del picture["phash"]["minimum"], picture["phash"]["maximum"]
    annotations = {
        name: _object(_known(_stored(name, provides))) | {"additionalProperties": False}
        for name, provides in columns.items()
        if name not in (IMAGE, SELECT)
    }
    missing = _object(
        {
            "column": {"type": "string"},
            "status": {"enum": [status for status in STATUSES if status != "ok"]},
            "reason": {"type": ["string", "null"]},
        },
        required=["column", "status", "reason"],
    )
    properties = {
        "key": _noted("key", {"type": "string", "pattern": KEY}),
        "kind": _noted("kind", {"type": "string"}),
        **facts,
        "annotations": _object(annotations) | {"description": "values by column, for the columns that are ok"},
        "producers": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "name@version+weights of what made each column",
        },
        "missing": {
            "type": "array",
            "minItems": 1,
            "items": missing,
            "description": "columns this sample lacks, and why; left out where it lacks none",
        },
    }
    head = _head("key", "key.json of a packed sample", "Origin, rights and annotations of one sample of shards/*.tar.")
    required = ["key", "kind", "item", "uri", "members", "width", "height", "annotations", "producers"]
    return head | _object(properties, required) | {"additionalProperties": False}


def _known(fields: Mapping[str, pa.DataType]) -> dict[str, Schema]:
    """Describe fields that are left out where nothing is known, of the further images too."""
    properties = {name: _arrow(kind) for name, kind in fields.items() if name != OTHERS}
    if OTHERS in fields:
        other = {field.name: _arrow(field.type) for field in fields[OTHERS].value_type}
        properties[OTHERS] = {"type": "array", "items": _object(other) | {"additionalProperties": False}}
    return properties


def _object(properties: Mapping[str, Schema], required: Sequence[str] = ()) -> Schema:
    schema: Schema = {"type": "object", "properties": dict(properties)}
    return schema | ({"required": list(required)} if required else {})


def _noted(name: str, schema: Schema) -> Schema:
    return schema | {"description": NOTES[name]}


def _nullable(schema: Schema) -> Schema:
    return schema | {"type": [schema["type"], "null"]}


def _arrow(kind: pa.DataType) -> Schema:
    """Return what an arrow type allows, as JSON Schema; raises ValueError for one no column may have."""
    if pa.types.is_struct(kind):
        nullable = kind not in (MEMBERS.value_type, FILES.value_type)
        fields = {field.name: _nullable(_arrow(field.type)) if nullable else _arrow(field.type) for field in kind}
        return _object(fields, required=list(fields))
    if pa.types.is_list(kind):
        return {"type": "array", "items": _arrow(kind.value_type)}
    if pa.types.is_unsigned_integer(kind):
        return {"type": "integer", "minimum": 0, "maximum": 2**kind.bit_width - 1}
    if pa.types.is_integer(kind):
        return {"type": "integer"}
    if pa.types.is_floating(kind):
        return {"type": "number"}
    if pa.types.is_boolean(kind):
        return {"type": "boolean"}
    if pa.types.is_string(kind):
        return {"type": "string"}
    raise ValueError(f"a field must be a number, boolean, string, list or struct, got {kind}.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the schemas; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m onegen.cli.schemas", description="Write the JSON Schemas into DIR."
    )
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file is out of date")
    options = parser.parse_args(arguments)
    if not options.check:
        write(options.folder)
        return 0
    stale = out_of_date(options.folder)
    for name in stale:
        print(f"{options.folder / name} must be as generated. Run `python -m onegen.cli.schemas {options.folder}`.")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
