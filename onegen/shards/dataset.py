"""A dataset on a store: the layout of its files, its identity card, and the folds over its manifests.

Every answer is read from committed manifests; folds over all of them take what `catalog` knows of those that are as it
saw them. docs/contract.md.
"""

import contextlib
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from onegen.errors import ConfigError
from onegen.sample import PACKED, Kind
from onegen.shards.catalog import COMMITS, PLANS, drop_catalogs, facts_of, shard_facts, shard_versions, write_catalog
from onegen.shards.index import Row, from_table
from onegen.shards.manifest import SCHEMA_VERSION, Counts, Made, Manifest, Record, explain_record
from onegen.storage.store import Store

CARD, COLLECTION = "dataset.json", "collection.json"
"""What says that a folder is a dataset, or a collection of them."""
OURS = {
    CARD,
    "plan",
    "columns",
    PACKED,
    "log",
    ".tmp",
    ".lease",
    "lease.json",
    "lease-clock",
    "takedowns",
    "catalog",
    "report",
    "README.md",
    "croissant.json",
}
_MANIFEST = re.compile(r"\d{6}\.json")
_COLUMN_FILE = re.compile(r"\d{6}-[0-9a-f]{8,64}\.(tar|parquet)")
_PACKED_FILE = re.compile(r"\d{6}(-[0-9a-f]{8,64})?\.(tar|parquet)")


class PlanSummary(Record):
    """The pinned plan: number of shards and items, and a digest over its rows."""

    shards: int = Field(description="number of shards")
    items: int = Field(description="number of items")
    digest: str = Field(description="SHA-256 over item ids, files, sizes and versions, one item a line")
    passed_over: dict[str, int] = Field({}, description="files and folders left out when it was made, by reason")
    provides: dict[str, dict[str, Any]] | None = Field(
        None, description="columns the source provides, and the types of their fields, where its files were looked at"
    )

    def omissions(self) -> list[str]:
        """Return what was left out when the plan was made, a line a reason."""
        return [
            f"{count:,} {'file' if count == 1 else 'files'} passed over, because {reason}"
            for reason, count in self.passed_over.items()
        ]


class ColumnSummary(Record):
    """A column as of the last finished build: rows by status and what made it."""

    counts: Counts = Field(description="rows by status, over all shards")
    producer: str = Field(description="name@version+weights of what made it")


class Card(Record):
    """`dataset.json`: what this dataset is. `digest` is its version; null while a build is under way."""

    schema_version: Literal[1] = Field(SCHEMA_VERSION, description="of everything in the dataset")
    name: str = Field(description="the recipe's name")
    kind: Kind = Field(description="what one sample is")
    state: Literal["building", "complete"] = Field(description="complete: the last build finished")
    recipe: dict[str, Any] = Field(description="the recipe of the last build, with its defaults filled in")
    recipe_digest: str = Field(description="SHA-256 of its canonical JSON")
    source: dict[str, Any] = Field(description="the source as the recipe describes it")
    source_root: str = Field(description="where the uris of the plan start from")
    collected: str | None = Field(None, description="how the subjects were collected, in the recipe's words")
    started_in: str | None = Field(None, description="folder that relative paths of the recipe start from")
    limit: int | None = Field(None, description="--limit, pinned with the plan")
    plan: PlanSummary = Field(description="what the dataset is made from, fixed before work starts")
    columns: dict[str, ColumnSummary] = Field({}, description="columns as of the last finished build")
    digest: str | None = Field(None, description="the dataset's version, over the columns and not the packed view")
    purged: str | None = Field(None, description="digest of the takedowns that no file holds anything of any more")

    def to_json(self) -> bytes:
        """Return the card as the bytes of its file."""
        return self.model_dump_json(indent=1).encode() + b"\n"


class MissingColumn(ConfigError):
    """A shard of a column is not there that something is made from."""

    def __init__(self, column: str, shard: int) -> None:
        super().__init__(
            f"column {column!r} must be made before what is made from it; shard {shard:06d} is missing. "
            f"Leave --only out, or run `--only {column}` first."
        )
        self.column, self.shard = column, shard

    def __reduce__(self) -> tuple[type["MissingColumn"], tuple[str, int]]:
        return MissingColumn, (self.column, self.shard)


class Dataset:
    """The files of one dataset, by meaning."""

    def __init__(self, store: Store, trusts_catalog: bool = True) -> None:
        self.store = store
        self._trusts_catalog = trusts_catalog
        self._listings: dict[str, dict[int, str]] | None = None

    def card(self) -> Card | None:
        """Return the identity card, or None where no plan was pinned yet.

        Raises ConfigError for another schema version or an unreadable card.
        """
        if not self.store.exists(CARD):
            return None
        data = self.store.read(CARD)
        try:
            return Card.model_validate_json(data)
        except ValidationError as error:
            stated = re.search(rb'"schema_version"\s*:\s*(\d+)', data)
            version = int(stated[1]) if stated else None
            if version is not None and version != SCHEMA_VERSION:
                raise ConfigError(
                    f"dataset must have schema version {SCHEMA_VERSION}, got {version} in {self.store.url}. "
                    f"Use the onegen that made it, or another OUT."
                ) from error
            raise ConfigError(
                f"{self.store.url}/{CARD} must be the card of a dataset, and does not read as one "
                f"({explain_record(Card, error)}). `onegen verify {self.store.url} --repair --recipe RECIPE` makes it "
                f"again."
            ) from error

    def require_card(self) -> Card:
        """Return the identity card; raises ConfigError where there is no dataset."""
        card = self.card()
        if card is None and self.store.exists(COLLECTION):
            names = [name for name in self.store.folders() if self.store.exists(f"{name}/{CARD}")]
            raise ConfigError(
                f"{self.store.url} must be a dataset, and is a collection of them. Name one: "
                f"{', '.join(f'{self.store.url}/{name}' for name in names[:3]) or 'none is built yet'}."
            )
        if card is None:
            raise ConfigError(f"{self.store.url} must hold a dataset, and has no {CARD}. Make one with `onegen build`.")
        return card

    def foreign_files(self) -> list[str]:
        """Return names at the top level that no onegen dataset has."""
        return sorted({*self.store.names(), *self.store.folders()} - OURS)

    def columns(self) -> list[str]:
        """Return the names of the columns that have a folder."""
        return self.store.folders("columns")

    def shards(self, column: str) -> list[int]:
        """Return the committed shards of a column (or of the packed view), in order."""
        return [int(name[:6]) for name in self.store.names(folder(column)) if _MANIFEST.fullmatch(name)]

    def manifest(self, column: str, shard: int) -> Manifest | None:
        """Return the manifest of a shard, or None where it is not committed."""
        try:
            data = self.store.read(manifest_name(column, shard))
        except FileNotFoundError:
            return None
        try:
            return Manifest.model_validate_json(data)
        except ValidationError as error:
            raise ConfigError(
                f"{self.store.url}/{manifest_name(column, shard)} is not a manifest of schema version "
                f"{SCHEMA_VERSION}: {explain_record(Manifest, error)}. Delete it and run `onegen build` again: only "
                f"this shard is made anew."
            ) from error

    def require_manifest(self, column: str, shard: int) -> Manifest:
        """Return the manifest of a shard; raises MissingColumn where it is not committed."""
        manifest = self.manifest(column, shard)
        if manifest is None:
            raise MissingColumn(column, shard)
        return manifest

    def manifests(self, column: str) -> Iterator[Manifest]:
        """Yield the committed manifests of a column, in shard order."""
        for shard in self.shards(column):
            manifest = self.manifest(column, shard)
            if manifest is not None:
                yield manifest

    def commits(self, column: str, *fields: str) -> pa.Table:
        """Return facts of the committed manifests of a column, in shard order: `shard`, `version` and these of COMMITS.

        What the catalogue does not know is read from the manifest, and for `reasons` from the index.
        """
        read = partial(self._facts, column, "reasons" in fields)
        return shard_facts(
            self.store, folder(column), self._versions(column), COMMITS, fields, read, self._trusts_catalog
        )

    def plans(self) -> pa.Table:
        """Return `shard`, `version` and `digest` of the file of every plan, in shard order: PLANS."""
        versions = shard_versions(self.store, "plan", ".parquet")
        return shard_facts(self.store, "plan", versions, PLANS, PLANS.names, self._plan_facts, self._trusts_catalog)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """List the manifests of a column once in this block, and again where this object changes one.

        For the holder of the lease, who alone writes manifests: a build asks some ten times of each column.
        """
        self._listings = {}
        try:
            yield
        finally:
            self._listings = None

    def _versions(self, column: str) -> Mapping[int, str]:
        if self._listings is None:
            return shard_versions(self.store, folder(column), ".json")
        if column not in self._listings:
            self._listings[column] = shard_versions(self.store, folder(column), ".json")
        return self._listings[column]

    def delete_manifest(self, column: str, shard: int) -> None:
        """Take a commit back: its files are orphans from now on."""
        self._forget(column)
        self.store.delete(manifest_name(column, shard))

    def _write_manifest(self, manifest: Manifest) -> None:
        self._forget(manifest.column)
        self.store.write(manifest_name(manifest.column, manifest.shard), manifest.to_json())

    def _forget(self, column: str) -> None:
        if self._listings is not None:
            self._listings.pop(column, None)

    def write_catalog(self) -> None:
        """Bring the catalogue up to date with the manifests and plans; only for the holder of the lease."""
        columns = [*self.columns(), PACKED]
        for column in columns:
            read = partial(self._facts, column, True)
            write_catalog(self.store, folder(column), self._versions(column), COMMITS, read)
        write_catalog(self.store, "plan", shard_versions(self.store, "plan", ".parquet"), PLANS, self._plan_facts)
        drop_catalogs(self.store, [folder(column) for column in columns])

    def _facts(self, column: str, with_reasons: bool, shard: int) -> Mapping[str, Any] | None:
        manifest = self.manifest(column, shard)
        if manifest is None:
            return None
        is_asked = with_reasons and manifest.counts.failed > 0 and column != PACKED
        return facts_of(manifest, self._reasons(manifest) if is_asked else ())

    def _plan_facts(self, shard: int) -> Mapping[str, Any] | None:
        try:
            return {"shard": shard, "digest": hashlib.sha256(self.store.read(f"plan/{shard:06d}.parquet")).hexdigest()}
        except FileNotFoundError:
            return None

    def _reasons(self, manifest: Manifest) -> list[tuple[str, int]] | None:
        """Return why rows of a shard failed, and how many; None where its index cannot be read."""
        try:
            rows = self.rows(manifest)
        except (OSError, pa.ArrowException, ValueError, TypeError, LookupError):
            return None
        return sorted(Counter(row.reason or "unknown" for row in rows if row.status == "failed").items())

    def rows(self, manifest: Manifest) -> list[Row]:
        """Return the index rows of a committed shard."""
        name = f"{folder(manifest.column)}/{file_of(manifest, '.parquet')}"
        with self.store.open(name) as file:
            return from_table(pq.ParquetFile(file).read(use_threads=False))

    def indexes(self, column: str, *fields: str) -> Iterator[tuple[int, pa.Table]]:
        """Yield each committed shard of a column, in order, with these fields of its index: of others not a byte."""
        commits = self.commits(column, "files")
        for shard, files in zip(*(commits.column(name).to_pylist() for name in ("shard", "files")), strict=True):
            (name,) = (name for name in files if name.endswith(".parquet"))
            with self.store.open(f"{folder(column)}/{name}") as file:
                yield shard, pq.ParquetFile(file).read(columns=list(fields), use_threads=False).select(list(fields))

    def commit(self, manifest: Manifest, pending: Mapping[str, str] | None = None) -> None:
        """Write the manifest, which is the commit, and delete the files that only its predecessor named.

        `pending` maps each plain name of a packed shard to the content name the worker gave it; the packed view keeps
        its names, so its old manifest goes first (docs/contract.md, rule 8).
        """
        if pending:
            self._replace_packed(manifest, pending)
            return
        before = self.manifest(manifest.column, manifest.shard)
        self._write_manifest(manifest)
        for name in set(before.files if before else ()) - set(manifest.files):
            # A damaged manifest may name anything.
            if is_own_file(manifest.column, name):
                self.store.delete(f"{folder(manifest.column)}/{name}")

    def _replace_packed(self, manifest: Manifest, pending: Mapping[str, str]) -> None:
        self.delete_manifest(PACKED, manifest.shard)
        for plain, content in sorted(pending.items()):
            self.store.rename(f"{PACKED}/{content}", f"{PACKED}/{plain}")
        self._write_manifest(manifest)

    def drop(self, column: str) -> None:
        """Delete a column, manifests first; what users put beside its files stays."""
        for shard in self.shards(column):
            self.delete_manifest(column, shard)
        for name in self.store.names(folder(column)):
            if is_own_file(column, name):
                self.store.delete(f"{folder(column)}/{name}")
        self.store.remove_folder(folder(column))

    def digest(self, columns: Iterable[str] | None = None) -> str:
        """Return the dataset's version: SHA-256 over the sorted (column, shard, digest), without the packed view."""
        total = hashlib.sha256()
        for column in sorted(columns if columns is not None else self.columns()):
            commits = self.commits(column, "digest")
            for shard, digest in zip(*(commits.column(name).to_pylist() for name in ("shard", "digest")), strict=True):
                total.update(f"{column} {shard} {digest}\n".encode())
        return total.hexdigest()

    def counts(self, column: str) -> Counts:
        """Return the rows of a column by status, over its committed shards."""
        return counts_of(self.commits(column, *Counts.model_fields))


def made_so(dataset: Dataset, column: str) -> dict[int, Made]:
    """Return how each committed shard of a column was made."""
    commits = dataset.commits(column, *Made._fields)
    rows = zip(*(commits.column(name).to_pylist() for name in Made._fields), strict=True)
    return dict(zip(commits.column("shard").to_pylist(), map(Made._make, rows), strict=True))


def counts_of(commits: pa.Table) -> Counts:
    """Return the rows by status over commits, of which they must be fields."""
    return Counts(**{name: sum(commits.column(name).to_pylist()) for name in Counts.model_fields})


def folder(column: str) -> str:
    """Return the folder of a column, or of the packed view."""
    return PACKED if column == PACKED else f"columns/{column}"


def is_own_file(column: str, name: str) -> bool:
    """Say whether a name in a column's folder is one that only onegen gives: a tar or index under a content name.

    In the packed view their plain names are ours too.
    """
    return bool((_PACKED_FILE if column == PACKED else _COLUMN_FILE).fullmatch(name))


def manifest_name(column: str, shard: int) -> str:
    """Return the name of a manifest."""
    return f"{folder(column)}/{shard:06d}.json"


def file_of(manifest: Manifest, extension: str) -> str:
    """Return the name of a manifest's tar or parquet; raises KeyError where it has none."""
    for name in manifest.files:
        if name.endswith(extension):
            return name
    raise KeyError(f"{manifest.column} shard {manifest.shard:06d} has no {extension} file")
