"""What of a dataset can be made again from all else it says: plans from the source, the card from recipe and manifests.

Nothing is guessed: a plan is written where its bytes have the digest that the image column was made from, a card where
its recipe proves itself or is given. Columns and shards are not touched: `onegen build` makes them again.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from onegen.audit.readable import DAMAGE
from onegen.audit.verify import absolute_location
from onegen.build.card import describe
from onegen.config.parse import parse
from onegen.config.recipe import Recipe, make_source, modules_of
from onegen.errors import ConfigError
from onegen.sample import IMAGE, PACKED
from onegen.shards.canonical import canonical, sha256
from onegen.shards.dataset import CARD, Card, ColumnSummary, Dataset, PlanSummary
from onegen.shards.plan import LISTING, plan_file, plan_name, plan_shards, planned_item, read_plan
from onegen.sources import Source
from onegen.storage.lease import lease
from onegen.storage.spill import Spill

_WANTED = pa.schema([("position", pa.int32()), ("item", pa.string())])
_FOUND = "SELECT wanted.position, item, images, sidecars FROM wanted JOIN listing USING (item) ORDER BY wanted.position"


def repair(dataset: Dataset, recipe: Recipe | None = None) -> Iterator[str]:
    """Repair what can be, and yield a line for each file that was; what could not be, `verify` finds afterwards.

    `recipe` is the one the dataset was built by, where its card no longer says it. Raises ConfigError where it is
    needed, and LeaseHeld while the dataset is being built.
    """
    if not dataset.store.exists(CARD) and not dataset.store.exists(plan_name(0)):
        dataset.require_card()
    with lease(dataset.store):
        said = _said(dataset)
        recipe = recipe if recipe is not None else _own_recipe(said)
        with _folder_of(said):
            source: Source = make_source(recipe.source)
            yield from _repair_plans(dataset, source)
            yield from _repair_card(dataset, recipe, source, said)


def _said(dataset: Dataset) -> Mapping[str, Any]:
    """Return what the card still says, nothing where it is no JSON object any more or is not there."""
    try:
        said = json.loads(dataset.store.read(CARD))
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, Mapping) else {}


def _own_recipe(said: Mapping[str, Any]) -> Recipe:
    """Return the recipe in a card, which its digest must prove; raises ConfigError."""
    with contextlib.suppress(ValueError, TypeError):
        if sha256(canonical(said.get("recipe"))) == said.get("recipe_digest"):
            recipe = parse(Recipe, said["recipe"], f"recipe of {CARD}")
            if not modules_of(recipe):
                return recipe
    raise ConfigError(
        f"{CARD} must say which recipe this dataset was built by, and does not, or names modules outside onegen. Add "
        f"--recipe with that recipe."
    )


def _folder_of(said: Mapping[str, Any]) -> contextlib.AbstractContextManager[None]:
    """Return the context in which relative paths of the recipe mean what they meant to the build."""
    folder = said.get("started_in")
    is_there = isinstance(folder, str) and os.path.isdir(folder)
    return contextlib.chdir(str(folder)) if is_there else contextlib.nullcontext()


def _repair_plans(dataset: Dataset, source: Source) -> Iterator[str]:
    """Make plans again that are not those their image column was made from, where the source is as it was."""
    damaged = {}
    for manifest in dataset.manifests(IMAGE):
        if _digest_of(dataset, plan_name(manifest.shard)) != manifest.inputs.get("plan"):
            damaged[manifest.shard] = manifest
    if not damaged:
        return
    with Spill() as spill:
        try:
            spill.store("listing", LISTING, source.listing())
        except ConfigError:
            return  # the source is gone; the finding says what is left to do
        for shard, manifest in damaged.items():
            try:
                items = [str(row.values["item"]) for row in dataset.rows(manifest)]
            except DAMAGE:
                continue  # the build makes the shard again, then its plan can be
            data = _plan_of(spill, items)
            if hashlib.sha256(data).hexdigest() == manifest.inputs.get("plan"):
                dataset.store.write(plan_name(shard), data)
                yield f"{plan_name(shard)}: made again from the source, as it was"


def _plan_of(spill: Spill, items: Sequence[str]) -> bytes:
    """Return the file of a plan of these items, in their order, as they are listed now; without those that are gone."""
    wanted = pa.RecordBatch.from_pydict({"position": list(range(len(items))), "item": list(items)}, schema=_WANTED)
    spill.store("wanted", _WANTED, [wanted])
    return plan_file([planned_item(row) for batch in spill.query(_FOUND) for row in batch.to_pylist()])


def _digest_of(dataset: Dataset, name: str) -> str | None:
    try:
        return hashlib.sha256(dataset.store.read(name)).hexdigest()
    except OSError:
        return None


def _repair_card(dataset: Dataset, recipe: Recipe, source: Source, said: Mapping[str, Any]) -> Iterator[str]:
    """Write the card anew where it does not say what recipe, plans and manifests do."""
    summary = _summary_of_plans(dataset, said)
    if summary is None:
        return
    card = describe(recipe, source, summary, None, {})
    columns = _columns_of(dataset, said)
    digest = dataset.digest(columns) if columns and _is_whole(dataset, columns, summary.shards) else None
    is_complete = digest is not None and (said.get("state") == "complete" or said.get("digest") == digest)
    made = {
        **card.model_dump(mode="json"),
        **_kept(said, recipe, summary.items),
        "columns": {name: column.model_dump() for name, column in columns.items()},
        "state": "complete" if is_complete else "building",
        "digest": digest if is_complete else None,
    }
    changed = [name for name in made if made[name] != said.get(name)]
    if changed:
        dataset.store.write(CARD, Card.model_validate(made).to_json())
        yield f"{CARD}: {', '.join(changed)} made again" + ("" if is_complete else "; run `onegen build` to finish it")


def _kept(said: Mapping[str, Any], recipe: Recipe, items: int) -> dict[str, Any]:
    """Return what only the card says, as far as it can be so."""
    limit, folder, root = said.get("limit"), said.get("started_in"), said.get("source_root")
    is_limit = isinstance(limit, int) and not isinstance(limit, bool) and limit >= items
    kept: dict[str, Any] = {
        "limit": limit if is_limit else None,
        "started_in": folder if isinstance(folder, str) else None,
    }
    kept["purged"] = said["purged"] if isinstance(said.get("purged"), str) else None
    is_relative = absolute_location(recipe.source) is None
    if is_relative and isinstance(root, str) and not (isinstance(folder, str) and os.path.isdir(folder)):
        kept["source_root"] = root  # where a relative source lay, nothing here can tell
    return kept


def _summary_of_plans(dataset: Dataset, said: Mapping[str, Any]) -> PlanSummary | None:
    """Return what the plans say together, None where one is damaged, lost, or not proved to be the one that was pinned.

    What was passed over only a card can say.
    """
    total = hashlib.sha256()
    items = 0
    proofs = {manifest.shard: manifest.inputs.get("plan") for manifest in dataset.manifests(IMAGE)}
    numbers = sorted({*proofs, *plan_shards(dataset.store)})
    if numbers != list(range(len(numbers))):
        return None
    try:
        for shard in numbers:
            if shard in proofs and _digest_of(dataset, plan_name(shard)) != proofs[shard]:
                return None
            plan = read_plan(dataset.store, shard)
            total.update(b"".join(canonical(item.content()) + b"\n" for item in plan))
            items += len(plan)
    except DAMAGE:
        return None
    made = {"shards": len(numbers), "items": items, "digest": total.hexdigest()}
    try:
        summary = PlanSummary.model_validate({**said.get("plan", {}), **made})
    except (ValidationError, TypeError):
        summary = PlanSummary.model_validate(made)
    return summary if _is_vouched(dataset, said, summary, len(proofs) == len(numbers)) else None


def _is_vouched(dataset: Dataset, said: Mapping[str, Any], summary: PlanSummary, is_proved: bool) -> bool:
    """Say whether no plan is missing behind the last: by the card's plan, or its version; without one by the images."""
    plan = said.get("plan")
    if isinstance(plan, Mapping) and plan.get("digest") == summary.digest:
        return True
    columns = _columns_of(dataset, said)
    return is_proved and (not said or (bool(columns) and said.get("digest") == dataset.digest(columns)))


def _columns_of(dataset: Dataset, said: Mapping[str, Any]) -> dict[str, ColumnSummary]:
    """Return the columns that a card names, or all there are where its digest is of these."""
    there = [name for name in dataset.columns() if name != PACKED]
    columns = said.get("columns")
    named = [name for name in (columns if isinstance(columns, Mapping) else ()) if name in there]
    chosen = there if said.get("digest") == dataset.digest(there) else named
    return {
        name: ColumnSummary(counts=dataset.counts(name), producer=next(dataset.manifests(name)).producer.label())
        for name in chosen
        if dataset.shards(name)
    }


def _is_whole(dataset: Dataset, columns: Mapping[str, ColumnSummary], shards: int) -> bool:
    return all(dataset.shards(name) == list(range(shards)) for name in columns)
