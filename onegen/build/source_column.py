"""A column a source brings with its images: its producer is the source, its rows are made like those of any stage.

A recipe's source may know more of an image than its bytes (metadata of a crawl, ground-truth maps, boxes, cameras).
Each such column is refreshed, retried and packed like an annotator's; a bad annotation fails its own row, never the
image. docs/design.md.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from onegen.build.jobs import ColumnJob
from onegen.config.bring import BRING
from onegen.sample import IMAGE, Annotation, Annotator, BaseAnnotator, Item, Kind, Provides, Rejected
from onegen.shards.canonical import storable
from onegen.shards.manifest import Producer, Provenance
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
        return [self._stored(item.annotations.get(self.name)) for item in items]

    def _stored(self, annotation: Annotation | None) -> Annotation | Rejected:
        if annotation is None:
            return Rejected("absent", f"the source says nothing of this sample in {self.name}")
        return Annotation({name: _storable(value) for name, value in annotation.values.items()}, annotation.parts)


def source_job(source: Source, name: str, provides: Provides, kind: Kind) -> ColumnJob:
    """Return how a column of a source is made: from the plan's items whose image is ok.

    The source's options are pinned with the plan, but for those that only change such columns: these, and the types of
    the fields, are what the fingerprint covers.
    """
    options = {option: getattr(source, option) for option in source.annotation_options if option != BRING}
    fields = {field: str(type_) for field, type_ in provides.fields.items()}
    settings = {"name": name, "version": source.version, "options": {**options, "fields": fields}, "weights": []}
    # As a manifest gives them back: tuples are lists there, and a difference must be one.
    settings = json.loads(json.dumps(settings))
    producer = Producer(name=source.name, version=source.version)
    # An annotator's name belongs to its class; this one's to the recipe's source.
    annotator = cast(Annotator, SourceColumn(name, source.version, provides))
    return ColumnJob(annotator, Provenance(name, kind, settings, producer), gates=(IMAGE,))


def _storable(value: Any) -> Any:
    """Return a value with what no digest and no JSON can hold made plain: NaN and infinity null, text valid UTF-8."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_storable(name): _storable(entry) for name, entry in value.items()}
    return [_storable(entry) for entry in value] if isinstance(value, list | tuple) else value
