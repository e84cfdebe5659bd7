"""Check a dataset against its contract: every file its manifests name, every count, every key; with `full` every byte.

`onegen verify DATASET [--full]`. Each finding names the file, the rule it breaks, and the way out. A damaged file is a
finding, and checking goes on with the rest; what would follow from it is not found a second time.

What nothing else in a dataset says cannot be checked: in the card `limit`, where it is not below the number of items,
the recipe together with its digest, and `source_root` where the recipe's path is relative; in a manifest the licences
of weights and the run part (times, host, library versions, memory, messages, attempts).
"""

import hashlib
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from onegen.audit.readable import DAMAGE, brief
from onegen.audit.shard_checks import Shard, manifest_problems, shard_problems
from onegen.config.registry import available
from onegen.errors import ConfigError
from onegen.sample import IMAGE, PACKED, SELECT
from onegen.shards.canonical import canonical, sha256
from onegen.shards.dataset import CARD, Card, Dataset, folder, manifest_name
from onegen.shards.field_types import type_from_json
from onegen.shards.manifest import Counts, Manifest
from onegen.shards.plan import plan_digest, plan_name, read_plan
from onegen.shards.scope import scope_of
from onegen.shards.takedowns import FOLDER, read_file, takedown_files
from onegen.shards.where import Scope, columns_in

PINNED = "`onegen verify --repair` makes it again if the source is as it was; else build into a new OUT."
AGAIN = "Run `onegen build` again."
CARD_WAY_OUT = "`onegen verify --repair` makes it again, with --recipe where it does not say the recipe any more."
_SHARD_FILE = re.compile(r"(\d{6})\.(json|parquet)")


@dataclass(frozen=True)
class Finding:
    """A broken rule: the file, what is wrong with it, and the way out."""

    file: str
    what: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}. {self.way_out}"


@dataclass
class _Totals:
    """What the shards checked so far say of the whole dataset.

    The plan's digest and items, shards whose image column was made from another plan, what select was made from by
    shard, and of each column its rows by status, its first producer, the fields its source provided, and whether all
    its shards are there and sound.
    """

    plan_hash: Any = field(default_factory=hashlib.sha256)
    items: int = 0
    plan_is_whole: bool = True
    made_from_other_plan: list[int] = field(default_factory=list)
    selected_from: dict[int, str] = field(default_factory=dict)
    counts: dict[str, Counts] = field(default_factory=dict)
    producers: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)

    def add(self, manifest: Manifest) -> None:
        """Count a shard of a column."""
        before = self.counts.get(manifest.column, Counts(rows=0)).model_dump()
        self.counts[manifest.column] = Counts(
            **{name: before[name] + number for name, number in manifest.counts.model_dump().items()}
        )
        self.producers.setdefault(manifest.column, manifest.producer.label())
        self.fields.setdefault(manifest.column, manifest.settings.get("options", {}).get("fields"))


@dataclass(frozen=True)
class _Verifier:
    """A dataset being verified: its card, None where it is damaged, and how many shards there are."""

    dataset: Dataset
    card: Card | None
    num_shards: int
    full: bool
    totals: _Totals = field(default_factory=_Totals)

    @classmethod
    def of(cls, dataset: Dataset, card: Card | None, full: bool) -> Self:
        """Return the verifier of a dataset."""
        return cls(dataset, card, _shards_on_disk(dataset), full)

    @property
    def is_complete(self) -> bool:
        """Say whether the last build finished: then nothing may be absent."""
        return self.card is not None and self.card.state == "complete"

    def _is_promised(self, column: str) -> bool:
        """Say whether the card says that a column is there, whole and current; others are left from earlier recipes."""
        return self.is_complete and self.card is not None and column in (*self.card.columns, PACKED)

    def columns(self) -> list[str]:
        """Return the columns of the card and those that have a folder, the image column first, the packed view last."""
        names = {*self.dataset.columns(), *(self.card.columns if self.card else ())} - {PACKED}
        columns = sorted(names, key=lambda column: (column != IMAGE, column))
        has_view = self.card.recipe.get("pack") is not None if self.card else bool(self.dataset.shards(PACKED))
        return [*columns, PACKED] if has_view else columns

    def check_plan(self, shard: Shard) -> Iterator[Finding]:
        """Read a shard's plan; its items are known to the shard afterwards, unless it is damaged."""
        try:
            plan = read_plan(self.dataset.store, shard.number)
            lines = b"".join(canonical(item.content()) + b"\n" for item in plan)
            strange = [item.item for item in plan if not isinstance(item.item, str)]
            if strange or [item.position for item in plan] != list(range(len(plan))):
                raise ValueError("its rows are not named items in the order of their positions")
        except DAMAGE as error:
            self.totals.plan_is_whole = False
            yield Finding(plan_name(shard.number), f"plan must be readable: {brief(error)}", PINNED)
            return
        shard.items, shard.plan_digest = [item.item for item in plan], plan_digest(self.dataset.store, shard.number)
        self.totals.plan_hash.update(lines)
        self.totals.items += len(plan)

    def check_columns(self, shard: Shard, columns: list[str]) -> Iterator[Finding]:
        """Check all columns of a shard, and what each was made from."""
        manifests: dict[str, Manifest] = {}
        for column in columns:
            name = manifest_name(column, shard.number)
            findings = list(self._check_column(shard, column, manifests))
            for file, what in findings:
                yield Finding(file, what, f"Delete {name} and run `onegen build`: only this shard is made again.")
            if findings:
                self.totals.damaged.add(column)
                # What is made from it differs from what it was: one finding is enough.
                manifests.pop(column, None)
            elif column in manifests:
                self.totals.add(manifests[column])
            elif self._is_promised(column):
                self.totals.damaged.add(column)
                yield Finding(name, "manifest must be there in a complete dataset", "Run `onegen build`.")
        for column, manifest in manifests.items():
            if not self.is_complete or self._is_promised(column):
                yield from self._check_inputs(shard, manifest, manifests)

    def _check_column(self, shard: Shard, column: str, manifests: dict[str, Manifest]) -> Iterator[tuple[str, str]]:
        name = manifest_name(column, shard.number)
        try:
            manifest = self.dataset.manifest(column, shard.number)
            problems = [] if manifest is None else list(manifest_problems(manifest, column, shard))
        except (ConfigError, *DAMAGE) as error:
            yield name, str(error)
            return
        if manifest is None:
            return
        manifests[column] = manifest
        for problem in problems:
            yield name, problem
        if problems:
            return
        if column == IMAGE and shard.items is not None and manifest.inputs.get("plan") != shard.plan_digest:
            # Whose fault it is, the digest of the whole plan will tell; its items say nothing of these rows.
            self.totals.made_from_other_plan.append(shard.number)
            shard.items = None
        yield from shard_problems(self.dataset, manifest, shard, self.full)

    def _check_inputs(self, shard: Shard, manifest: Manifest, manifests: Mapping[str, Manifest]) -> Iterator[Finding]:
        """Compare what a shard was made from with what is committed; inputs that are damaged or absent say nothing."""
        if manifest.column == SELECT:
            self.totals.selected_from[shard.number] = manifest.inputs.get("dataset", "")
            return
        for column, digest in manifest.inputs.items():
            if column in manifests and manifests[column].digest != digest:
                yield Finding(
                    manifest_name(manifest.column, shard.number),
                    f"shard must be made from the committed {column}, {manifests[column].digest}, got {digest}: "
                    f"it is stale",
                    AGAIN,
                )

    def check_whole(self) -> Iterator[Finding]:
        """Compare what all shards say together with the card, and with what select saw of them."""
        yield from self._check_plans()
        yield from self._check_select()
        if self.card is not None:
            yield from _card_problems(self.card)
            if self.is_complete:
                yield from self._check_totals(self.card)
            elif self.card.digest is not None:
                yield Finding(CARD, f"a dataset that is being built must have no digest, got {self.card.digest}", AGAIN)

    def _check_plans(self) -> Iterator[Finding]:
        totals, card = self.totals, self.card
        if card is not None and card.plan.shards != self.num_shards:
            yield Finding("plan", f"must have {card.plan.shards} shards, got files of {self.num_shards}", PINNED)
        is_other = False
        if card is not None and totals.plan_is_whole and card.plan.shards == self.num_shards:
            digest = totals.plan_hash.hexdigest()
            is_other = digest != card.plan.digest
            if totals.items != card.plan.items:
                yield Finding("plan", f"must hold {card.plan.items} items, got {totals.items}", PINNED)
            elif is_other and not totals.made_from_other_plan:
                yield Finding("plan", f"its rows must have digest {card.plan.digest}, got {digest}", PINNED)
        for shard in totals.made_from_other_plan:
            if is_other:
                yield Finding(plan_name(shard), "plan must be the one that the image column was made from", PINNED)
            else:
                name = manifest_name(IMAGE, shard)
                yield Finding(name, "shard must be made from the plan as it is pinned, got another digest", AGAIN)

    def _check_select(self) -> Iterator[Finding]:
        """Compare what select judged with what is committed: it looks at the whole dataset at once."""
        selected = self.totals.selected_from
        if not selected:
            return
        manifest = self.dataset.require_manifest(SELECT, min(selected))
        try:
            rules = dict(manifest.settings.get("options", {}).get("keep", {}))
            scope = _scope(self.dataset) if rules else {}
            inputs = {IMAGE, *(column for rule in rules.values() for column in columns_in(rule, scope))}
            if inputs & self.totals.damaged:
                return
            expected = sha256(self.dataset.digest(inputs).encode())
        except (ConfigError, *DAMAGE) as error:
            yield Finding(manifest_name(SELECT, min(selected)), f"its rules must be readable: {error}", AGAIN)
            return
        for shard, digest in selected.items():
            if digest != expected:
                name = manifest_name(SELECT, shard)
                yield Finding(name, f"shard must be made from what is committed, {expected}, got {digest}", AGAIN)

    def _check_totals(self, card: Card) -> Iterator[Finding]:
        for column, pinned in (card.plan.provides or {}).items():
            if column in self.totals.fields and _told(pinned) != self.totals.fields[column]:
                what = f"{column} must provide the fields it was made with, {self.totals.fields[column]}, got {pinned}"
                yield Finding(CARD, what, CARD_WAY_OUT)
        for column, summary in card.columns.items():
            if column in self.totals.damaged or column not in self.totals.counts:
                continue
            counts, producer = self.totals.counts[column], self.totals.producers[column]
            if summary.counts != counts:
                what = f"{column} must have the rows by status {counts.model_dump()}, got {summary.counts.model_dump()}"
                yield Finding(CARD, what, AGAIN)
            if summary.producer != producer:
                yield Finding(CARD, f"{column} must be made by {producer}, got {summary.producer}", AGAIN)
        if not self.totals.damaged - {PACKED} and card.digest != self.dataset.digest(card.columns):
            yield Finding(CARD, f"its digest must be that of the committed manifests, got {card.digest}", AGAIN)


def verify(dataset: Dataset, full: bool = False) -> Iterator[Finding]:
    """Yield what is wrong with a dataset; nothing for a sound one. `full` reads and hashes every byte.

    Raises ConfigError where there is no dataset.
    """
    # What is proved here is what everything derived rests on.
    dataset = Dataset(dataset.store, trusts_catalog=False)
    card: Card | None = None
    try:
        card = dataset.require_card()
    except (ConfigError, OSError) as error:
        if not dataset.store.exists(CARD):
            raise
        yield Finding(CARD, f"card must be readable: {error}", CARD_WAY_OUT)
    verifier = _Verifier.of(dataset, card, full)
    columns = verifier.columns()
    for number in range(verifier.num_shards):
        shard = Shard(number, card.kind if card else None)
        yield from verifier.check_plan(shard)
        yield from verifier.check_columns(shard, columns)
    yield from verifier.check_whole()
    yield from _check_takedowns(dataset)


def _check_takedowns(dataset: Dataset) -> Iterator[Finding]:
    """Yield lists of takedowns that do not read: nobody knows what to leave out."""
    for name in takedown_files(dataset.store):
        try:
            read_file(dataset.store, name)
        except ConfigError as error:
            yield Finding(f"{FOLDER}/{name}", str(error), "Put it back as it was.")


def _shards_on_disk(dataset: Dataset) -> int:
    """Return how many shards the files of plan, columns and packed view are of; a card may say anything."""
    folders = ["plan", *(folder(column) for column in (*dataset.columns(), PACKED))]
    matches = (_SHARD_FILE.fullmatch(name) for where in folders for name in dataset.store.names(where))
    return 1 + max((int(match[1]) for match in matches if match), default=-1)


def _scope(dataset: Dataset) -> Scope:
    """Return the columns a rule may name, with the fields that their first committed index has."""
    return scope_of(dataset, [column for column in dataset.columns() if column != SELECT])


def _card_problems(card: Card) -> Iterator[Finding]:
    """Yield what a card says that does not follow from the recipe in it."""
    recipe = card.recipe
    try:
        digest = sha256(canonical(recipe))
    except ValueError as error:
        yield Finding(CARD, f"its recipe must have a digest: {error}", CARD_WAY_OUT)
        return
    if digest != card.recipe_digest:
        yield Finding(CARD, f"its recipe must have digest {card.recipe_digest}, got {digest}", CARD_WAY_OUT)
        return
    for name, value in (("name", card.name), ("kind", card.kind), ("source", card.source)):
        if recipe.get(name) != value:
            what = f"its {name} must be that of its recipe, {recipe.get(name)!r}, got {value!r}"
            yield Finding(CARD, what, CARD_WAY_OUT)
    if card.limit is not None and card.limit < card.plan.items:
        what = f"its plan must hold no more items than its limit, {card.limit}, got {card.plan.items}"
        yield Finding(CARD, what, CARD_WAY_OUT)
    location = absolute_location(card.source)
    if location is not None and not _lies_in(location, card.source_root):
        what = f"its source root must be where its source lies, {location}, got {card.source_root}"
        yield Finding(CARD, what, CARD_WAY_OUT)


def _told(pinned: Mapping[str, Any]) -> dict[str, str] | None:
    """Return pinned types as settings tell them; None where they are none."""
    try:
        return {name: str(type_from_json(kind)) for name, kind in pinned.items()}
    except ValueError:
        return None


def absolute_location(source: Mapping[str, Any]) -> str | None:
    """Return the absolute path a source of ours is described by; None where its path is relative, or a URL."""
    values = [value for name, value in source.items() if name in available("sources")]
    is_path = len(values) == 1 and isinstance(values[0], str) and values[0].startswith("/")
    return posixpath.normpath(values[0]) if is_path else None


def _lies_in(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root.rstrip('/')}/")
