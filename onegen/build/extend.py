"""`onegen build --extend`: what a listing made now adds to a pinned plan, in words. docs/growth.md."""

from collections.abc import Iterator

from onegen.shards.dataset import Card, PlanSummary
from onegen.shards.plan import Changes


def extension(card: Card, plan: PlanSummary, changes: Changes, limit: int | None) -> Iterator[str]:
    """Yield what was added to the plan of a card and why, and what was not."""
    added, shards = plan.items - card.plan.items, plan.shards - card.plan.shards
    if added:
        stay = ". The rows of the changed stay what they were, beside the new ones" if changes.changed else ""
        yield f"extended by {added:,} item(s) in {shards:,} shard(s): {changes.told('new', 'changed')}{stay}"
    else:
        yield f"nothing to extend by: {changes.told('new', 'changed')}"
    left = changes.new + changes.changed - added
    if left:
        yield f"--limit {limit} leaves {left:,} item(s) out: the dataset ends after {plan.items:,}"
    elif card.limit is not None and limit is None:
        yield f"planned with --limit {card.limit} before, and without one now"
    if changes.gone:
        yield f"{changes.told('gone')}: their rows stay; `onegen takedown` is for what must go"
