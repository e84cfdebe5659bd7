"""An annotator that says it is there and waits until a gate is opened: a test decides what happens meanwhile."""

import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from onegen.annotators import register
from onegen.sample import Annotation, Item, Provides, Rejected
from tests.plugins.plain import Plain

PATIENCE = 200.0
SLOW = "ONEGEN_TEST_SLOW"
"""Environment of a machine that never gets through the gate."""


@register("annotators", "gate")
@dataclass(frozen=True)
class Gate(Plain):
    """Answers with the height once `folder` holds `open`; each wait leaves a file in its `at`, named by the key."""

    folder: str = ""

    name: ClassVar[str] = "gate"
    provides: ClassVar[Provides] = Provides(fields={"height": pa.int64()})

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        deadline = time.monotonic() + PATIENCE
        for item in items:
            (Path(self.folder) / "at" / f"{item.key}-{os.getpid()}-{uuid.uuid4().hex}").touch()
        while SLOW in os.environ or not (Path(self.folder) / "open").exists():
            assert time.monotonic() < deadline, "nobody opened the gate"
            time.sleep(0.05)
        return [Annotation({"height": item.size[0] if item.size else None}) for item in items]
