"""How many images of sets, and how many sets, each rule of `select` left: a fold over its committed rows.

An image is taken out by the first rule it breaks, in the order of the recipe; then what repeats, what two subjects
share, and at last what is left of sets that lost too many.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from onegen.audit.readable import readable
from onegen.sample import IMAGE, SELECT
from onegen.shards.dataset import Dataset, manifest_name
from onegen.shards.index import Row
from onegen.shards.views import FEW_IMAGES, SETS, dropped

NEAR_DUPLICATE = "near_duplicate"
_LAST = ("duplicate", NEAR_DUPLICATE, "shared", FEW_IMAGES)


@dataclass(frozen=True, slots=True)
class RuleCount:
    """What a rule did: images and sets with an image before it, and after it."""

    rule: str
    images_before: int
    images_after: int
    sets_before: int
    sets_after: int


def rule_counts(dataset: Dataset) -> tuple[RuleCount, ...]:
    """Return what each rule did, in order; nothing for samples that are no sets.

    Rules that the recipe does not name, such as that of duplicates, are told where they took something.
    """
    card = dataset.require_card()
    if card.kind not in SETS:
        return ()
    select = card.recipe.get("select", {})
    named = [f"rule:{name}" for name in select.get("keep", {})]
    order = [*named, *_LAST]
    named += [NEAR_DUPLICATE] if select.get("near_duplicates") else []
    images: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    total = sets = 0
    for image, chosen in _rows(dataset):
        reasons = _reasons(image, chosen)
        total += len(reasons)
        sets += 1
        images.update(reason for reason in reasons if reason)
        if all(reasons):
            ended[max((str(reason) for reason in reasons), key=order.index)] += 1
    counts = []
    for rule in order:
        if images[rule] or rule in named:
            after, sets_after = total - images[rule], sets - ended[rule]
            counts.append(RuleCount(rule, total, after, sets, sets_after))
            total, sets = after, sets_after
    return tuple(counts)


def _rows(dataset: Dataset) -> Iterator[tuple[Row, Row]]:
    """Yield the rows of image and select of every stored set whose verdict is committed."""
    for shard in dataset.shards(SELECT):
        with readable(f"the index of {manifest_name(SELECT, shard)}"):
            both = [dataset.rows(dataset.require_manifest(column, shard)) for column in (IMAGE, SELECT)]
        yield from ((image, chosen) for image, chosen in zip(*both, strict=True) if image.status == "ok")


def _reasons(image: Row, chosen: Row) -> list[str | None]:
    """Return of each stored image of a set the rule that took it, None for one that is kept."""
    own = {entry["image"]: str(entry["reason"]) for entry in dropped(chosen)}
    # What is left of a set that is filtered goes with it; one that repeats another says so of all its images.
    rest = chosen.reason if chosen.status == "filtered" else None
    return [own.get(index, rest) for index in range(len(image.parts))]
