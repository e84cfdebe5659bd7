"""A modality whose brought text ends the process when it says so."""

import os
import signal
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from onegen.annotators.shared.brought import BaseReader, brought_of, text_of
from onegen.sample import Annotation, Item, Provides


@dataclass(frozen=True)
class BroughtTrap(BaseReader):
    """Field `word`, what the source says; `die` kills the process that reads it."""

    provides: ClassVar[Provides] = Provides(fields={"word": pa.string()})

    def take(self, item: Item) -> Annotation:
        word = text_of(brought_of(item))
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return Annotation({"word": word})


BROUGHT = BroughtTrap
