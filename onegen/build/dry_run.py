"""What a build would do, without doing it: the recipe with its defaults, the plan, and what is done already."""

import yaml

from onegen.build.steps import Step
from onegen.build.work import Options, Work, check_committed, prepare
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError
from onegen.shards.dataset import PlanSummary
from onegen.shards.plan import compare_plan
from onegen.storage.store import Store


def describe(recipe: Recipe, store: Store, options: Options) -> str:
    """Return the description as text; raises ConfigError for everything a build would refuse."""
    work = prepare(recipe, store, options)
    check_committed(work)
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return "\n".join([text, *_planned(work)])


def _planned(work: Work) -> list[str]:
    card = work.dataset.card()
    if card is not None:
        plan = card.plan
        head = f"plan (pinned): {plan.items:,} items in {plan.shards:,} shards from {card.source_root}"
        more = [_extension(work, plan)] if work.options.extend else []
        return [head, *more, *(f"  {step.name}: {_left(step, work, plan.shards)}" for step in work.steps)]
    items = sum(batch.num_rows for batch in work.source.listing())
    items = min(items, work.options.limit) if work.options.limit else items
    shards = -(-items // work.recipe.samples_per_shard)
    head = f"plan: {items:,} items from {work.source.root}, about {shards:,} shards; nothing is done yet"
    return [head, *(f"  {step.name}: {', '.join(step.columns)}" for step in work.steps)]


def _extension(work: Work, plan: PlanSummary) -> str:
    """Return what --extend would add."""
    changes = compare_plan(work.dataset.store, plan.shards, work.source.listing())
    added = changes.new + changes.changed
    if work.options.limit is not None:
        added = min(added, work.options.limit - plan.items)
    shards = -(-added // work.recipe.samples_per_shard)
    return f"--extend: {added:,} item(s), about {shards:,} more shard(s): {changes.told('new', 'changed', 'gone')}"


def _left(step: Step, work: Work, num_shards: int) -> str:
    try:
        left = len(step.tasks(work.dataset, num_shards, work.permissions))
    except ConfigError:
        return "waits for the columns it is made from"
    return f"{num_shards - left:,} of {num_shards:,} shards done"
