"""A column a source brings with its images: its producer is the source, its rows are made like those of any stage.

A recipe's source may know more of an image than its bytes (metadata of a crawl, ground-truth maps, boxes, cameras).
Each such column is refreshed, retried and packed like an annotator's; a bad annotation fails its own row, never the
image. DESIGN section 2.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from onegen.build.jobs import ColumnJob
from onegen.sample import IMAGE, Annotation, Annotator, BaseAnnotator, Item, Provides, Rejected
from onegen.shards.canonical import storable
from onegen.shards.manifest import Producer
from onegen.sources import Source


@dataclass(frozen=True)
class SourceColumn(BaseAnnotator):
    """The annotator of one column of a source; `name`, `version` and `provides` are the source's word."""

    name: str
    version: int
    provides: Provides

    needs_pixels: ClassVar[bool] = False

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return what the source said of each item, or Rejected `absent`."""
        return [self._one(item) for item in items]

    def _one(self, item: Item) -> Annotation | Rejected:
        said = item.annotations.get(self.name)
        if said is None:
            return Rejected("absent", f"the source says nothing of this sample in {self.name}")
        return Annotation({name: _storable(value) for name, value in said.values.items()}, said.parts)


def source_job(source: Source, name: str, provides: Provides) -> ColumnJob:
    """Return how a column of a source is made: from the plan's items whose image is ok.

    The source's options are pinned with the plan, but for those that only change such columns: these, and the types of
    the fields, are what the fingerprint covers.
    """
    options = {option: getattr(source, option) for option in source.annotation_options}
    fields = {field: str(kind) for field, kind in provides.fields.items()}
    settings = {"name": name, "version": source.version, "options": {**options, "fields": fields}, "weights": []}
    # An annotator's name belongs to its class; this one's to the recipe's source.
    annotator = cast(Annotator, SourceColumn(name, source.version, provides))
    return ColumnJob(
        annotator=annotator,
        # As a manifest gives them back: tuples are lists there, and a difference must be one.
        settings=json.loads(json.dumps(settings)),
        producer=Producer(name=source.name, version=source.version),
        gates=(IMAGE,),
    )


def _storable(value: Any) -> Any:
    """Return a value with what no digest and no JSON can hold made plain: NaN and infinity null, text valid UTF-8."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_storable(name): _storable(one) for name, one in value.items()}
    return [_storable(one) for one in value] if isinstance(value, list | tuple) else value
