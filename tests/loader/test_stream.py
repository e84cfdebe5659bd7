"""Stock readers of the packed view give the same examples. PYTHONPATH=. python -m pytest tests/loader/test_stream.py"""

from collections import Counter

import numpy as np
import pytest
import webdataset

from onegen.errors import ConfigError, SampleError
from onegen.loader.batches import Loader
from onegen.loader.choices import Choices
from onegen.loader.inventory import Wanted
from onegen.loader.stream import examples
from tests.loader.street import key_of

SMALL = Choices(resolution=64, condition_dropout=0.3, captions=("caption", "original"))


def stream(store):
    urls = f"{store.root}/shards/{{000000..000002}}.tar"
    return webdataset.WebDataset(urls, shardshuffle=False)


def test_a_stock_stream_gives_what_the_loader_gives(street):
    loader = Loader(street.url, tokens=256, bins=1, choices=SMALL, validation=0.0, seed=5)
    loader.load_state_dict({"epoch": 2, "position": 0})
    ours = {example.key: example for bins in loader for bin_ in bins for example in bin_}
    read = examples(stream(street), seed=5, epoch=2, dataset="street", choices=SMALL)
    theirs = {example.key: example for example in read}
    assert len(theirs) == 24
    assert theirs.keys() == ours.keys()
    for key, example in theirs.items():
        own = ours[key]
        assert (example.task, example.prompt, example.roles, example.seed, example.dataset) == (
            own.task, own.prompt, own.roles, own.seed, own.dataset,
        )  # fmt: skip
        assert all(np.array_equal(a, b) for a, b in zip(example.views, own.views, strict=True))


def test_a_stream_keeps_to_mixture_split_and_takedowns(street):
    wanted = Wanted("train", 0.3, {key_of(1)})
    shown = list(examples(stream(street), {"depth2image": 1.0}, choices=SMALL, wanted=wanted))
    assert {example.task for example in shown} == {"depth2image"}
    assert key_of(1) not in {example.key for example in shown}
    loader = Loader(
        street.url, {"depth2image": 1.0}, tokens=256, bins=1, choices=SMALL, validation=0.3, takedowns={key_of(1)}
    )
    assert {e.key for e in shown} == {e.key for bins in loader for bin_ in bins for e in bin_}


def test_what_is_none_of_ours_is_named():
    foreign = {"__key__": "x", "jpg": b"..."}
    with pytest.raises(SampleError, match="json that onegen packs"):
        list(examples([foreign]))
    bad = Counter()
    assert list(examples([foreign], bad=bad)) == []
    assert bad == Counter({"no_json": 1})
    decoded = {"__key__": "x", "jpg": np.zeros(3), "json": {"key": "k", "kind": "image", "width": 1, "height": 1}}
    with pytest.raises(ConfigError, match="bytes"):
        list(examples([decoded]))
