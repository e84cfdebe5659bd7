"""What a build will have to refuse on its way, refused before anything is written.

The tasks found on the way are those of the steps as they stand: they hold until something is made.
"""

from collections.abc import Mapping, Sequence

from onegen.build.steps import Step
from onegen.build.work import Work
from onegen.executor.contract import Task
from onegen.sample import IMAGE
from onegen.shards.dataset import MissingColumn

Foreseen = Mapping[str, Sequence[Task]]
"""The tasks of the first steps, by step, up to the first that has any: behind it they depend on what is made."""


def foresee(work: Work) -> Foreseen:
    """Return the tasks that are known before a build begins, none before there is a plan.

    Raises ConfigError for committed work that is stale and may not be thrown away, and MissingColumn for a step that is
    made from what neither is there nor comes before it.
    """
    card = work.dataset.card()
    known: dict[str, Sequence[Task]] = {}
    made: set[str] = set()
    is_open = card is None
    for step in work.wanted_steps():
        if card is not None or step.name != IMAGE:
            tasks = _tasks(step, work, card.plan.shards if card is not None else 1, made)
            if not is_open and tasks is not None:
                known[step.name] = tasks
            is_open = is_open or tasks is None or bool(tasks)
        made |= set(step.columns)
    return known


def _tasks(step: Step, work: Work, num_shards: int, made: set[str]) -> Sequence[Task] | None:
    """Return the tasks of a step as things stand, None where they wait for columns that are made before."""
    try:
        return step.tasks(work.dataset, num_shards, work.permissions)
    except MissingColumn as error:
        if error.column not in made:
            raise
        return None
