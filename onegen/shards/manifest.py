"""The manifest of a column shard: written last, its presence is the commit. docs/contract.md, rules 6 to 9."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from onegen.config.parse import explain
from onegen.sample import Kind
from onegen.shards.canonical import canonical, sha256
from onegen.shards.key import SEED_RULE

SCHEMA_VERSION: Final = 1


class Record(BaseModel):
    """Base of the typed JSON records of a dataset."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FileRecord(Record):
    """Size in bytes and SHA-256 of a file the manifest names."""

    size: int = Field(description="bytes")
    sha256: str = Field(description="of the whole file, 64 hex digits; the first eight are in a column file's name")


class Counts(Record):
    """Rows by status. Rows in = ok + skipped + filtered + failed, or the manifest does not exist."""

    rows: int = Field(description="rows in, one per plan item")
    ok: int = Field(0, description="has its values and parts")
    skipped: int = Field(0, description="not run: an earlier column is not ok, or `where` is not true")
    filtered: int = Field(0, description="left out by rule")
    failed: int = Field(0, description="went wrong; may be retried by reason")

    @model_validator(mode="after")
    def _balance(self) -> "Counts":
        out = self.ok + self.skipped + self.filtered + self.failed
        if out != self.rows:
            raise ValueError(f"rows in must equal ok + skipped + filtered + failed, got {self.rows} in and {out} out.")
        return self


class FailureRecord(Record):
    """Why one row failed: its position and item, the reason code, the message, and how often it was tried."""

    position: int = Field(description="row of the shard")
    item: str = Field(description="item id of the plan")
    reason: str = Field(description="short code, as in the index; what `onegen retry --reason` matches")
    message: str = Field(description="what went wrong, for people")
    attempts: int = Field(1, description="how often it was tried")


class Run(Record):
    """How the shard was made. No digest covers it: it may differ between runs that made the same bytes."""

    started: str = Field(description="UTC, ISO 8601")
    seconds: float = Field(description="wall time of the shard")
    host: str = Field(description="machine and process")
    peak_rss: int = Field(description="peak resident memory of the worker, bytes")
    computed: int = Field(description="rows computed in this run; the others were copied")
    libraries: dict[str, str] = Field(description="package to version")
    failures: list[FailureRecord] = Field([], description="one per failed row, in position order")
    where_errors: int = Field(0, description="rows over which an expression was in error, which is no")
    busy_seconds: float = Field(0.0, description="the part of `seconds` in which its annotator was at work")
    peak_gpu: int = Field(0, description="most bytes the worker held on its GPU; 0 without one")
    halvings: int = Field(0, description="batches halved because the device's memory was full")
    smallest_batch: int = Field(0, description="the smallest batch that was left; 0 where none was halved")


def where_errors_of(column: str, count: int) -> str:
    """Return what people are told of a column's rows over which an expression was in error."""
    return f"{column}: an expression was in error over {count:,} row(s), which is no"


class Producer(Record):
    """What made the column: name and version of the annotator or source, its weights and their licences."""

    name: str = Field(description="annotator, source stage, select or pack")
    version: int = Field(description="bumped by hand when results change")
    weights: list[dict[str, str]] = Field([], description="name, revision, sha256 and licence of each model file")

    def label(self) -> str:
        """Return the short form the index rows carry."""
        weights = "".join(f"+{weight['sha256'][:8]}" for weight in self.weights)
        return f"{self.name}@{self.version}{weights}"


class Manifest(Record):
    """The commit of one shard of one column, or of the packed view (column `shards`)."""

    schema_version: Literal[1] = Field(SCHEMA_VERSION, description="of everything in the dataset")
    column: str = Field(description="name of the column, or `shards` for the packed view")
    shard: int = Field(description="number of the shard, from 0")
    kind: Kind = Field(description="what one sample is")
    counts: Counts = Field(description="rows by status")
    files: dict[str, FileRecord] = Field(description="every file of this shard, by name in this folder")
    digest: str = Field(description="SHA-256 over the canonical rows")
    inputs: dict[str, str] = Field(description="digest of each column shard this one was made from")
    input_digest: str = Field(description="SHA-256 over inputs and `where`")
    where: str | None = Field(None, description="duckdb boolean that chose the rows")
    fingerprint: str = Field(description="SHA-256 over settings")
    settings: dict[str, Any] = Field(description="name, version, options that change results, weights")
    producer: Producer = Field(description="what made the column")
    seed_rule: str = Field(SEED_RULE, description="how what is drawn at random is seeded")
    run: Run = Field(description="how it was made; no digest covers it")

    @field_validator("column")
    @classmethod
    def _plain_column(cls, value: str) -> str:
        return _plain(value)

    @field_validator("files")
    @classmethod
    def _plain_files(cls, value: dict[str, FileRecord]) -> dict[str, FileRecord]:
        return {_plain(name): record for name, record in value.items()}

    def to_json(self) -> bytes:
        """Return the manifest as the bytes of its file."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def _plain(name: str) -> str:
    """Return a name that stays inside its folder: a manifest may come from a stranger, and is followed and swept."""
    if name.startswith(".") or not name.isprintable() or set(name) & set("/\\") or not name:
        raise ValueError(f"must be a plain name inside its folder, got {name!r}")
    return name


def explain_record(kind: type[BaseModel], error: ValidationError) -> str:
    """Return in one line what is wrong with a record that does not validate."""
    return explain(kind, error.errors()[0])


class Made(NamedTuple):
    """How a committed shard was made, and what it is: what its manifest says of it in digests."""

    input_digest: str
    fingerprint: str
    digest: str


@dataclass(frozen=True)
class Provenance:
    """How a column (or the packed view) is made, whatever the shard.

    `settings` are what changes its results and what the fingerprint covers; `where` is the expression that chooses
    rows. The one place that says whether a committed shard is current, and that fills in a manifest.
    """

    column: str
    kind: Kind
    settings: dict[str, Any]
    producer: Producer
    where: str | None = None

    @cached_property
    def fingerprint(self) -> str:
        """The digest of everything that changes the column's results."""
        return fingerprint(self.settings)

    def is_current(self, manifest: "Manifest | Made", inputs: Mapping[str, str]) -> bool:
        """Say whether a committed shard was made so, from inputs of these digests, without reading a row."""
        same_inputs = manifest.input_digest == inputs_digest(dict(inputs), self.where)
        return same_inputs and manifest.fingerprint == self.fingerprint

    def manifest(
        self,
        shard: int,
        files: dict[str, FileRecord],
        counts: Counts,
        digest: str,
        inputs: Mapping[str, str],
        run: Run,
    ) -> Manifest:
        """Return the manifest of a shard made so; `files`, `counts` and `digest` are what its writer says."""
        return Manifest(
            column=self.column,
            shard=shard,
            kind=self.kind,
            counts=counts,
            files=files,
            digest=digest,
            inputs=dict(inputs),
            input_digest=inputs_digest(dict(inputs), self.where),
            where=self.where,
            fingerprint=self.fingerprint,
            settings=self.settings,
            producer=self.producer,
            run=run,
        )


def fingerprint(settings: dict[str, Any]) -> str:
    """Return the fingerprint of what changes a column's results."""
    return sha256(canonical(settings))


def inputs_digest(inputs: dict[str, str], where: str | None) -> str:
    """Return the digest of everything a column shard is made from."""
    return sha256(canonical([inputs, where]))


def settings_difference(old: dict[str, Any], new: dict[str, Any], path: str = "") -> list[str]:
    """Return what changed between two settings, one `option: old -> new` per line."""
    lines: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            lines += settings_difference(before, after, f"{path}{name}.")
        else:
            lines.append(f"{path}{name}: {before!r} -> {after!r}")
    return lines
