"""The dataset's card while a build runs: reopened by the first thing that changes, closed when all is there.

A build that is refused before it changed anything leaves the card as it was: state, digest and recipe.
"""

import os
from collections.abc import Mapping

from onegen.config.recipe import Recipe
from onegen.shards.canonical import canonical, sha256
from onegen.shards.dataset import CARD, Card, ColumnSummary, Dataset, PlanSummary
from onegen.sources import Source


def describe(
    recipe: Recipe,
    source: Source,
    plan: PlanSummary,
    limit: int | None,
    columns: Mapping[str, ColumnSummary],
    purged: str | None = None,
) -> Card:
    """Return the card of a dataset under way; `columns` are those of the last finished build.

    `purged` is the digest of the takedowns that no file holds anything of.
    """
    described = recipe.model_dump(mode="json")
    return Card(
        name=recipe.name,
        kind=recipe.kind,
        state="building",
        recipe=described,
        recipe_digest=sha256(canonical(described)),
        source=recipe.source,
        source_root=source.root,
        started_in=os.getcwd(),
        collected=recipe.collected,
        limit=limit,
        plan=plan,
        columns=dict(columns),
        purged=purged,
    )


def reopen_as_it_is(dataset: Dataset) -> None:
    """Say that something is absent, and nothing else: the recipe at hand may still be refused."""
    card = dataset.card()
    if card is not None:
        dataset.store.write(CARD, card.model_copy(update={"state": "building", "digest": None}).to_json())


class OpenCard:
    """`dataset.json` of a build: its card, and whether the file says yet that a build is under way."""

    def __init__(self, dataset: Dataset, card: Card) -> None:
        self._dataset, self._card = dataset, card
        self._is_reopened = False

    @property
    def num_shards(self) -> int:
        """Shards of the plan."""
        return self._card.plan.shards

    def reopen(self) -> None:
        """Say that a build is under way, by this recipe; from here on the dataset has no version until `close`."""
        if not self._is_reopened:
            self._dataset.store.write(CARD, self._card.to_json())
            self._is_reopened = True

    def close(self, columns: Mapping[str, ColumnSummary], digest: str | None) -> None:
        """Write what was made, and the version where everything of the recipe is there."""
        ended = {"columns": dict(columns), "digest": digest, "state": "complete" if digest else "building"}
        self._dataset.store.write(CARD, self._card.model_copy(update=ended).to_json())
