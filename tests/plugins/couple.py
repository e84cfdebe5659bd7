"""A source of pairs: `x.target.png` and `x.source.png`, and what is said of them in `x.json`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from onegen.config.registry import register
from onegen.errors import SampleError
from onegen.sample import Annotation, Kind, Provides, SourceImage, SourceItem
from onegen.shards.plan import LISTING, PlannedItem


@register("sources", "couple")
@dataclass(frozen=True)
class Couple:
    """Pairs of the folder `couple`; a `score` is the column `about`, `captions` are those of target and source."""

    couple: str

    name: ClassVar[str] = "couple"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "pair"
    annotation_options: ClassVar[tuple[str, ...]] = ()
    provides: ClassVar[Mapping[str, Provides]] = {"about": Provides(fields={"score": pa.float64()})}

    @property
    def root(self) -> str:
        return self.couple

    def listing(self) -> Iterator[pa.RecordBatch]:
        names = sorted(path.name.removesuffix(".target.png") for path in Path(self.couple).glob("*.target.png"))
        files = [[f"{name}.target.png", f"{name}.source.png"] for name in names]
        images = [[{"uri": uri, "size": 0, "etag": ""} for uri in pair] for pair in files]
        yield pa.RecordBatch.from_pydict(
            {"item": names, "images": images, "sidecars": [[]] * len(names)}, schema=LISTING
        )

    def read(self, item: PlannedItem) -> SourceItem:
        try:
            target, source = (Path(self.couple, file.uri).read_bytes() for file in item.images)
        except FileNotFoundError as error:
            raise SampleError("source_gone", str(error)) from error
        said = self._said(item)
        after, before = said.get("captions", ("after", "before"))
        return SourceItem((SourceImage(target, after, "CC0-1.0"), SourceImage(source, before)), said["instruction"])

    def annotations(self, item: PlannedItem) -> Mapping[str, Annotation | SampleError]:
        said = self._said(item)
        return {"about": Annotation({"score": said["score"]})} if "score" in said else {}

    def _said(self, item: PlannedItem) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(Path(self.couple, f"{item.item}.json").read_text(encoding="utf-8"))
        return said
