"""An exception in a batch is halved down to the image that raises it, unless the device is lost.

PYTHONPATH=. python -m pytest tests/build/test_bisect.py
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import pyarrow as pa
import pytest

from onegen.build.assemble import column_job
from onegen.build.stage import answer
from onegen.errors import SampleError
from onegen.sample import Annotation, Item, Provides, Rejected
from tests.plugins.plain import Plain


@dataclass(frozen=True)
class Picky(Plain):
    """Numbers each image by its key; raises where a caption is an exception's message; notes how many it was given."""

    sizes: list[int] = field(default_factory=list)

    name: ClassVar[str] = "picky"
    provides: ClassVar[Provides] = Provides(fields={"number": pa.int32()})

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        self.sizes.append(len(items))
        for item in items:
            if item.caption is not None:
                raise RuntimeError(item.caption)
        return [Annotation({"number": int(item.key)}) for item in items]


def items(count: int, **captions: str) -> list[Item]:
    """Return images without pixels; `n3="text"` gives the fourth a caption."""
    return [Item(str(number), None, captions.get(f"n{number}")) for number in range(count)]


def test_a_good_batch_is_one_call() -> None:
    annotator = Picky()
    outcomes = answer(column_job("picky", annotator, "image"), items(8))
    assert annotator.sizes == [8]
    assert [(outcome.key, outcome.values["number"]) for outcome in outcomes] == [(str(n), n) for n in range(8)]


def test_one_bad_image_of_many_fails_alone() -> None:
    annotator = Picky()
    outcomes = answer(column_job("picky", annotator, "image"), items(8, n5="no edges"))
    assert [outcome.status for outcome in outcomes] == ["ok"] * 5 + ["failed"] + ["ok"] * 2
    assert (outcomes[5].key, outcomes[5].reason) == ("5", "runtime_error")
    assert outcomes[5].message == "RuntimeError: no edges"
    assert not outcomes[5].is_expected
    # Halves, and halves of the bad one: log2(8) levels of two calls after the first.
    assert annotator.sizes == [8, 4, 4, 2, 1, 1, 2]


def test_every_bad_image_fails_for_its_own_reason() -> None:
    outcomes = answer(column_job("picky", Picky(), "image"), items(5, n0="first", n4="last"))
    assert [outcome.message for outcome in outcomes if outcome.status == "failed"] == [
        "RuntimeError: first",
        "RuntimeError: last",
    ]
    assert [outcome.status for outcome in outcomes[1:4]] == ["ok"] * 3


@pytest.mark.parametrize("count", [1, 4])
def test_a_lost_device_is_not_bisected(count: int) -> None:
    """Every further call of the process would fail: each image would be blamed for what one did."""
    annotator = Picky()
    with pytest.raises(RuntimeError, match="CUDA error"):
        answer(column_job("picky", annotator, "image"), items(count, n0="CUDA error: device-side assert triggered"))
    assert annotator.sizes == [count]


def test_a_device_lost_while_bisecting_ends_it() -> None:
    annotator = Picky()
    with pytest.raises(RuntimeError, match="CUDA error"):
        answer(
            column_job("picky", annotator, "image"), items(4, n0="no edges", n1="CUDA error: an illegal memory access")
        )
    assert annotator.sizes == [4, 2, 1, 1]


@dataclass(frozen=True)
class Forgetful(Picky):
    """Answers one image too few of any batch."""

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        return super().annotate(items)[1:]


def test_an_answer_too_few_fails_each_image_by_name() -> None:
    outcomes = answer(column_job("picky", Forgetful(), "image"), items(3))
    assert {outcome.reason for outcome in outcomes} == {"bad_annotation"}
    assert outcomes[0].message == "picky must answer each item once, got 0 for 1."


@dataclass(frozen=True)
class Strict(Picky):
    """Says itself that a sample is at fault."""

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        raise SampleError("too_dark", "brightness must be at least 3")


def test_what_an_annotator_says_of_a_sample_is_its_reason() -> None:
    (outcome,) = answer(column_job("picky", Strict(), "image"), items(1))
    assert (outcome.reason, outcome.message, outcome.is_expected) == (
        "too_dark",
        "brightness must be at least 3",
        True,
    )


@dataclass(frozen=True)
class Interrupted(Picky):
    """Ctrl-C comes while it works."""

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        self.sizes.append(len(items))
        raise KeyboardInterrupt


def test_ctrl_c_is_no_fault_of_a_sample() -> None:
    annotator = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        answer(column_job("picky", annotator, "image"), items(4))
    assert annotator.sizes == [4]
