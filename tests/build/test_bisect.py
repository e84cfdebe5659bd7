"""An exception in a batch is halved down to the image that raises it, unless the device is lost.

PYTHONPATH=. python -m pytest tests/build/test_bisect.py
"""

import asyncio
import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from onegen.build.answering import answer
from onegen.build.assemble import column_job
from onegen.build.outcome import MESSAGE_LIMIT
from onegen.errors import SampleError
from onegen.executor.contract import Interrupt
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
class Ending(Picky):
    """Raises what an exception's name in the caption says, of those that are no Exception."""

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        self.sizes.append(len(items))
        for item in items:
            if item.caption is not None:
                raise ENDS[item.caption]
        return [Annotation({"number": int(item.key)}) for item in items]


class PanicException(BaseException):
    """What Rust libraries raise."""


ENDS: dict[str, type[BaseException]] = {
    "ctrl-c": Interrupt,
    "exit": SystemExit,
    "keyboard": KeyboardInterrupt,
    "generator": GeneratorExit,
    "cancelled": asyncio.CancelledError,
    "panic": PanicException,
}


@pytest.mark.parametrize("word", ["ctrl-c", "exit"])
def test_ctrl_c_and_the_end_of_the_process_are_no_fault_of_a_sample(word: str) -> None:
    annotator = Ending()
    with pytest.raises(ENDS[word]):
        answer(column_job("picky", annotator, "image"), items(4, n1=word))
    assert annotator.sizes == [4]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("keyboard", "keyboard_interrupt"),
        ("generator", "generator_exit"),
        ("cancelled", "cancelled_error"),
        ("panic", "panic_exception"),
    ],
)
def test_what_an_annotator_raises_itself_costs_its_sample_alone(word: str, reason: str) -> None:
    outcomes = answer(column_job("picky", Ending(), "image"), items(4, n1=word))
    assert [outcome.reason for outcome in outcomes] == [None, reason, None, None]


class Mute(Exception):
    """Cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Colour(enum.Enum):
    RED = 1


@dataclass(frozen=True)
class Garbled(Picky):
    """Rejects or fails for reasons, and in words, that nothing can store; what is kept of them stands in TEXTS."""

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        answers: list[Annotation | Rejected] = []
        for item in items:
            reply = TEXTS[item.caption][0] if item.caption else Annotation()
            if isinstance(reply, BaseException):
                raise reply
            answers.append(reply)
        return answers


TEXTS: dict[str, tuple[Any, str, str, str]] = {
    "half a pair": (RuntimeError("bad \ud83d"), "failed", "runtime_error", "RuntimeError: bad \ufffd"),
    "two halves": (RuntimeError("\ud83d\ude00"), "failed", "runtime_error", "RuntimeError: \U0001f600"),
    "nul": (SampleError("a\0b", "c\0d"), "failed", "a\ufffdb", "c\ufffdd"),
    "reason": (SampleError("\ud83d", "m"), "failed", "\ufffd", "m"),
    "number": (SampleError(3, "m"), "failed", "sample_error", "SampleError: m"),  # type: ignore[arg-type]
    "none": (SampleError(None, "m"), "failed", "sample_error", "SampleError: m"),  # type: ignore[arg-type]
    "mute": (Mute(), "failed", "mute", "Mute: <exception str() failed>"),
    "long": (RuntimeError("m" * 9999), "failed", "runtime_error", "RuntimeError: " + "m" * (MESSAGE_LIMIT - 14)),
    "rejected": (Rejected("\udc80", "\0"), "filtered", "\ufffd", "\ufffd"),
    "detail": (Rejected("dark", 3), "filtered", "dark", "3"),  # type: ignore[arg-type]
    "enum": (
        Rejected(Colour.RED),  # type: ignore[arg-type]
        "failed",
        "bad_annotation",
        "picky must reject for a reason that is text, got <Colour.RED: 1>.",
    ),
    "empty": (
        Rejected(""),
        "failed",
        "bad_annotation",
        "picky must reject for a reason that is text, got ''.",
    ),
}


@pytest.mark.parametrize("caption", TEXTS)
def test_words_that_nothing_can_store_cost_their_sample_alone(caption: str) -> None:
    outcomes = answer(column_job("picky", Garbled(), "image"), items(4, n2=caption))
    assert [outcome.status for outcome in outcomes if outcome is not outcomes[2]] == ["ok"] * 3
    _, status, reason, message = TEXTS[caption]
    assert (outcomes[2].status, outcomes[2].reason, outcomes[2].message) == (status, reason, message)
    assert type(outcomes[2].reason) is str
