"""A source that brings a map and a name with each image, and says no, nothing or nonsense where its JSON says so."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from onegen.config.registry import register
from onegen.errors import SampleError
from onegen.sample import Annotation, Kind, Part, Provides, SourceItem
from onegen.shards.plan import PlannedItem
from onegen.sources.folder import Folder


@register("sources", "gauge")
@dataclass(frozen=True)
class Gauge:
    """Images of the folder `gauge`; what is said of `x.png` stands in `x.json`; reads are noted in the file `calls`."""

    gauge: str
    unit: float = 1.0
    calls: str = ""

    name: ClassVar[str] = "gauge"
    version: ClassVar[int] = 3
    kind: ClassVar[Kind] = "image"
    annotation_options: ClassVar[tuple[str, ...]] = ("unit",)
    provides: ClassVar[Mapping[str, Provides]] = {
        "truth": Provides((Part("truth.png", "gray8"),), {"level": pa.float64()}),
        "label": Provides(fields={"word": pa.string()}),
    }

    @property
    def root(self) -> str:
        return Folder(self.gauge).root

    def listing(self) -> Iterator[pa.RecordBatch]:
        return Folder(self.gauge, sidecars=False).listing()

    def read(self, item: PlannedItem) -> SourceItem:
        self._note("read", item)
        return Folder(self.gauge).read(item)

    def annotations(self, item: PlannedItem) -> Mapping[str, Annotation | SampleError]:
        self._note("annotations", item)
        said = json.loads((Path(self.gauge) / item.item).with_suffix(".json").read_text(encoding="utf-8"))
        if said.get("refused"):
            raise SampleError("refused", "the whole item is refused")
        found: dict[str, Annotation | SampleError] = {}
        if "size" in said:
            level = said["level"] * self.unit if isinstance(said["level"], float) else said["level"]
            found["truth"] = Annotation({"level": level}, {"truth.png": np.full(said["size"], 7, np.uint8)})
        if "word" in said:
            found["label"] = Annotation({"word": said["word"]})
        if said.get("unreadable"):
            found["label"] = SampleError("unreadable", "the label cannot be read")
        return found

    def _note(self, what: str, item: PlannedItem) -> None:
        if self.calls:
            with open(self.calls, "a", encoding="utf-8") as file:
                file.write(f"{what} {item.item}\n")
