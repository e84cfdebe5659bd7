"""What a result says of itself: how the pictures were drawn, how they were scored, on which data, by which weights."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from onegen.errors import ConfigError
from onegen.eval.protocol import Metric, Protocol
from onegen.eval.sampling import Sampling
from onegen.shards.canonical import canonical
from onegen.shards.manifest import Record, explain_record, settings_difference
from onegen.storage.whole import whole

GENERATION, RESULT, ITEMS, PIECES, DRAWINGS = "generation.json", "result.json", "items.parquet", "scores", "pictures"
"""Files and folders of a result."""
SEED_RULE = (
    "each picture's noise is drawn by a generator of its own, seeded with the first 8 bytes, big endian, of SHA-256 "
    "over the canonical JSON of ['SEED/UNIT/INDEX', protocol, version]"
)


class Model(Record):
    """The model behind pictures."""

    name: str = Field(description="folder or hub id, as given")
    sha256: str = Field(description="over the list of its files' hashes")
    dtype: str = Field(description="of weights and arithmetic")


class Generation(Record):
    """`generation.json`: how the pictures in the folder beside it were drawn."""

    protocol: str = Field(description="name of the protocol")
    version: int = Field(description="of the protocol; bumped when it draws or scores otherwise")
    options: dict[str, Any] = Field(description="of the protocol")
    data_digest: str = Field(description="SHA-256 over the benchmark's data")
    units: int = Field(description="how many there are to draw, over all shards")
    model: Model = Field(description="what drew them")
    sampling: Sampling = Field(description="how")
    seed: int = Field(description="the run's own")
    seed_rule: str = Field(SEED_RULE, description="how the noise of each picture follows from it")
    approximations: list[str] = Field([], description="in what drawing was not exact")


class Result(Record):
    """`result.json`: the summary of scores, and all that it rests on."""

    protocol: str = Field(description="name of the protocol")
    label: str = Field(description="the same with its variant")
    version: int = Field(description="of the protocol")
    table: str = Field(description="of the paper, or empty")
    name: str = Field(description="whose pictures these are")
    options: dict[str, Any] = Field(description="of the protocol")
    data_digest: str = Field(description="SHA-256 over the benchmark's data")
    units: int = Field(description="of the benchmark")
    items: int = Field(description="rows that were scored")
    lacks: str = Field(description="in what the data is not the whole benchmark; empty where it is")
    left_out: int = Field(description="rows that are missing or failed; not 0 with --partial alone")
    metrics: list[Metric] = Field(description="the summary")
    skipped: dict[str, str] = Field(description="metrics that could not be computed, and what they need")
    metric_models: list[dict[str, str]] = Field(description="weights that metrics were computed with")
    approximations: list[str] = Field(description="in what this is not the benchmark's own scoring")
    unknown: list[str] = Field(description="what the paper does not say")
    folder: str = Field(description="of the pictures")
    data: str = Field(description="where the benchmark's data lay, or empty")
    generation: Generation | None = Field(None, description="how they were drawn, where we drew them")


def options_of(protocol: Protocol) -> dict[str, Any]:
    """Return the options of a protocol as plain data; where its data lies is no option."""
    return protocol.model_dump(mode="json", exclude={"data"})


def data_digest(protocol: Protocol) -> str:
    """Return SHA-256 over the names and bytes of the data that scores depend on."""
    digest = hashlib.sha256(protocol.data_words())
    root = protocol.data or Path()
    for path in sorted(protocol.data_files()):
        name = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ConfigError(f"data of {protocol.name} must be readable, got {path}: {error.strerror}.") from error
        digest.update(canonical([name.as_posix(), content]))
    return digest.hexdigest()


def read_generation(folder: Path) -> Generation | None:
    """Return how the pictures of a result were drawn; None where it does not say. Raises ConfigError if damaged."""
    path = folder / GENERATION
    if not path.is_file():
        return None
    try:
        return Generation.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigError(f"{path} must be ours: {explain_record(Generation, error)}. Name another --out.") from error


def read_result(path: Path) -> Result:
    """Return a result; raises ConfigError for a file that is none."""
    try:
        return Result.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigError(f"{path} must be a result: {explain_record(Result, error)}. Score again.") from error


def write_record(path: Path, record: Record) -> None:
    """Write a record under its name, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        part.write_text(json.dumps(record.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")


def check_same(folder: Path, before: Generation, now: Generation) -> None:
    """Raise ConfigError naming what differs, where a folder's pictures were drawn otherwise than is asked now."""
    changes = settings_difference(_plain(before), _plain(now))
    if changes:
        raise ConfigError(
            f"{folder} holds pictures that were drawn otherwise: {'; '.join(changes)}. Give another --name or --out, "
            f"or remove the folder."
        )


def _plain(record: Generation) -> dict[str, Any]:
    # Where a model lies says nothing about it, its hash does; how pictures are scored is no matter of drawing.
    return record.model_dump(mode="json", exclude={"options": True, "model": {"name"}})
