"""What a source provides, pinned with the plan: a file that came later changes no type of a dataset under way."""

from collections.abc import Collection, Mapping
from typing import Any

from onegen.config.bring import BRING
from onegen.config.recipe import SOURCE
from onegen.errors import ConfigError
from onegen.sample import IMAGE, Provides
from onegen.shards.dataset import CARD, Card
from onegen.shards.field_types import type_from_json, type_to_json
from onegen.sources import PinsProvides, Source


def provided_types(source: Source) -> dict[str, dict[str, Any]] | None:
    """Return what a source provides as a card keeps it; None for one that knows it without a look at its files."""
    if not isinstance(source, PinsProvides):
        return None
    return {
        column: {name: type_to_json(kind) for name, kind in provides.fields.items()}
        for column, provides in source.provides.items()
    }


def pin_provided(source: Source, described: Mapping[str, Any], card: Card, recomputed: Collection[str]) -> None:
    """Let a source, as a recipe describes it, provide what it did when the plan was made.

    It looks again where the recipe asks for other fields than then, or the source's columns are `recomputed`. Raises
    ConfigError for a card whose types are none.
    """
    pinned = card.plan.provides
    if not isinstance(source, PinsProvides) or pinned is None or {IMAGE, SOURCE, *pinned} & {*recomputed}:
        return
    if {**described, BRING: None} != {**card.source, BRING: None}:
        return
    try:
        provides = {
            column: Provides(fields={name: type_from_json(kind) for name, kind in fields.items()})
            for column, fields in pinned.items()
        }
    except ValueError as error:
        raise ConfigError(f"{CARD} must be the card of a dataset, and does not read as one: {error}.") from error
    source.pin(provides)
