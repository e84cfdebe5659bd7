"""What a build would do, without doing it: the recipe with its defaults, the plan, and what is done already."""

import yaml

from onegen.build.build import Options, check_output, leave_of
from onegen.build.jobs import StageJob
from onegen.build.pending import pack_tasks, refuse_changed_options, stage_tasks
from onegen.build.select import SelectJob, is_current
from onegen.build.steps import Step, make_steps
from onegen.config.recipe import Recipe, make_source
from onegen.errors import ConfigError
from onegen.shards.dataset import Card, Dataset
from onegen.storage.store import Store


def describe(recipe: Recipe, store: Store, options: Options) -> str:
    """Return the description as text; raises ConfigError for everything a build would refuse."""
    steps = make_steps(recipe, store)
    dataset = Dataset(store)
    source = make_source(recipe.source)
    check_output(dataset, recipe, source, options)
    refuse_changed_options(dataset, steps, leave_of(steps, options))
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    card = dataset.card()
    lines = [text]
    if card is None:
        items = sum(batch.num_rows for batch in source.listing())
        items = min(items, options.limit) if options.limit else items
        shards = -(-items // recipe.samples_per_shard)
        lines.append(f"plan: {items:,} items from {source.root}, about {shards:,} shards; nothing is done yet")
        lines += [f"  {step.name}: {', '.join(step.columns) or 'packed view'}" for step in steps]
    else:
        lines.append(f"plan (pinned): {card.plan.items:,} items in {card.plan.shards:,} shards from {card.source_root}")
        lines += [f"  {step.name}: {_left(step, dataset, card, options, steps)}" for step in steps]
    return "\n".join(lines)


def _left(step: Step, dataset: Dataset, card: Card, options: Options, steps: list[Step]) -> str:
    shards = card.plan.shards
    try:
        if isinstance(step.job, StageJob):
            left = len(stage_tasks(step.job, dataset, shards, leave_of(steps, options)))
        elif isinstance(step.job, SelectJob):
            left = 0 if is_current(dataset, step.job, shards) else shards
        else:
            left = len(pack_tasks(step.job, dataset, shards))
    except ConfigError:
        return "waits for the columns it is made from"
    return f"{shards - left:,} of {shards:,} shards done"
