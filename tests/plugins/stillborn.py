"""An annotator that does not get through `load`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from onegen.annotators import register
from onegen.errors import ConfigError
from onegen.sample import Annotation, Item, Provides, Rejected
from tests.plugins.plain import Plain
from tests.plugins.poison import act


@register("annotators", "stillborn")
@dataclass(frozen=True)
class Stillborn(Plain):
    """Dies while it loads, as `poison.act` or the words `config` and `missing` say; notes each try in `tries`."""

    how: str
    tries: str

    name: ClassVar[str] = "stillborn"
    provides: ClassVar[Provides] = Provides(fields={"nothing": pa.int32()})

    def load(self) -> None:
        with open(self.tries, "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
        if self.how == "config":
            raise ConfigError("weights must be there, got none. Run `onegen models fetch`.")
        if self.how == "missing":
            raise FileNotFoundError(2, "No such file or directory", "/weights/none.onnx")
        act(self.how)

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        raise AssertionError("it was never loaded")
