"""An annotator that does to its own process what spoils it for the rows after, where the caption says so."""

import os
import resource
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from onegen.annotators import register
from onegen.sample import Annotation, Item, Provides, Rejected
from tests.plugins.plain import Plain

HOARD_BYTES = 600 << 20


def spoil(word: str) -> None:
    """Spoil this process as a word says."""
    match word:
        case "close and sleep":
            os.closerange(3, 256)
            time.sleep(600)
        case "close":
            os.closerange(3, 256)
        case "fork and die":
            # The child holds every pipe of its parent for a while.
            if os.fork() == 0:
                time.sleep(20)
                os._exit(0)
            os._exit(4)
        case "fork and return":
            os.fork()
        case "chatter":
            for descriptor in range(3, 64):
                if _is_socket(descriptor):
                    os.write(descriptor, b"a library's debugging output\n" * 9)
        case "file size":
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        case "open files":
            resource.setrlimit(resource.RLIMIT_NOFILE, (4, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        case "hoard":
            hoard = bytearray(HOARD_BYTES)
            hoard[:: resource.getpagesize()] = b"1" * len(hoard[:: resource.getpagesize()])
            time.sleep(5)


def _is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False


@register("annotators", "saboteur")
@dataclass(frozen=True)
class Saboteur(Plain):
    """The caption, after doing what it says."""

    name: ClassVar[str] = "saboteur"
    provides: ClassVar[Provides] = Provides(fields={"word": pa.string()})

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        for item in items:
            spoil(item.caption or "")
        return [Annotation({"word": item.caption or ""}) for item in items]
