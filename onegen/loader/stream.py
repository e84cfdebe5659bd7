"""Examples from a stream of packed samples, such as stock `webdataset` reads from the tars that were published.

    samples = webdataset.WebDataset("out/shards/{000000..000009}.tar")
    for example in examples(samples, dataset="street"):

The examples are those that `Loader` makes of the same samples in the same epoch, but for the balance of the mixture:
a stream knows one sample at a time, so each draws among the tasks that it can serve.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from onegen.errors import ConfigError, SampleError
from onegen.loader.choices import Choices
from onegen.loader.epoch import draw_of, draw_visits
from onegen.loader.example import Example
from onegen.loader.examples import make_example
from onegen.loader.inventory import Inventory, Wanted, is_in_split
from onegen.loader.mixture import Mixture
from onegen.loader.needs import COUNTS
from onegen.loader.order import Visits
from onegen.loader.scan import PARTS, served, wanted_columns
from onegen.loader.stored import Stored, key_number
from onegen.sample import IMAGE
from onegen.shards.split import group_of
from onegen.shards.views import OTHERS, PICTURES, split_name


def examples(
    samples: Iterable[Mapping[str, Any]],
    mixture: Mixture | Mapping[str, float] | None = None,
    seed: int = 0,
    epoch: int = 0,
    *,
    dataset: str = "stream",
    choices: Choices | None = None,
    wanted: Wanted | None = None,
    bad: Counter[str] | None = None,
) -> Iterator[Example]:
    """Yield an example of every sample that serves a task of the mixture and is in the wanted split.

    Samples are mappings of part names to bytes, with `__key__`, as webdataset yields them undecoded. `bad` counts
    samples that could not be read, by reason; without it the first of them raises SampleError.
    """
    mixture = mixture if isinstance(mixture, Mixture) else Mixture(dict(mixture or {}))
    choices, wanted = choices or Choices(), wanted or Wanted("all")
    for sample in samples:
        try:
            example = _example(stored_of(sample, dataset), mixture, seed, epoch, choices, wanted)
        except SampleError as error:
            if bad is None:
                raise
            bad[error.reason] += 1
            continue
        if example is not None:
            yield example


def stored_of(sample: Mapping[str, Any], dataset: str) -> Stored:
    """Return a packed sample as a stored one; raises SampleError `no_json` where it is not one of ours."""
    parts = {split_name(name): data for name, data in sample.items() if not name.startswith("__")}
    about = parts.pop((0, "json"), None)
    try:
        about = json.loads(about) if isinstance(about, bytes | str) else about
    except ValueError:
        about = None
    if not isinstance(about, Mapping) or not {"key", "kind", "width", "height"} <= about.keys():
        key = sample.get("__key__")
        raise SampleError("no_json", f"sample {key} must have the json that onegen packs, got {sorted(sample)}.")
    if not all(isinstance(data, bytes) for data in parts.values()):
        raise ConfigError(
            "samples must come as bytes, got decoded ones. Leave .decode() out of the webdataset pipeline."
        )
    values = {IMAGE: about, **about.get("annotations", {})}
    return Stored(dataset, about["key"], about["kind"], values, parts)


def _example(
    stored: Stored, mixture: Mixture, seed: int, epoch: int, choices: Choices, wanted: Wanted
) -> Example | None:
    """Return the example of one sample, None where it serves no task or is not wanted."""
    inventory = _inventory_of(stored, choices)
    group = np.array([group_of(stored.key, stored.values[IMAGE])], np.uint64)
    if stored.key in wanted.takedowns or not is_in_split(group, wanted)[0]:
        return None
    if not int(inventory.tasks[0]) & mixture.bits & wanted.tasks:
        return None
    walk = Visits(np.zeros(1, np.int64), np.full(1, epoch, np.int64))
    return make_example(stored, draw_of(inventory, draw_visits(inventory, walk, mixture, choices, seed), 0), choices)


def _inventory_of(stored: Stored, choices: Choices) -> Inventory:
    """Return the inventory of one sample."""
    about = stored.values[IMAGE]
    sizes = [(picture["height"], picture["width"]) for picture in (about, *(about.get(OTHERS) or ()))]
    names = {image for image, name in stored.parts if name in PICTURES}
    if names != set(range(len(sizes))):
        raise SampleError("absent", f"sample {stored.key} must have its {len(sizes)} images, got {sorted(names)}.")
    has = {column: np.array([_has(stored, column)]) for column in wanted_columns(choices.captions)}
    tasks = served(stored.kind, [about], np.array([len(sizes)]), has, choices.captions)
    zero = np.zeros(1, np.int32)
    return Inventory(
        (),
        zero.astype(np.uint16),
        zero,
        zero,
        np.array([key_number(stored.key)], np.uint64),
        tasks,
        np.array([0, len(sizes)], np.int64),
        np.arange(len(sizes), dtype=np.uint16),
        np.array(sizes, np.int32),
    )


def _has(stored: Stored, column: str) -> bool:
    """Say whether a sample has what a column stores."""
    if column in PARTS:
        return (0, PARTS[column]) in stored.parts
    said = stored.values.get(column)
    return said is not None and (column not in COUNTS or bool(said.get(COUNTS[column])))
