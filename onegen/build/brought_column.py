"""A column that a recipe brings along from its source: stored as the modality's annotators store it.

What the source says is fed as it stands there and read here, so that a bad one fails its row of its column alone; it is
checked like the answer of an annotator, and its producer is the source. docs/build.md.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from onegen.annotators.shared.brought import BroughtReader
from onegen.build.jobs import ColumnJob, part_names
from onegen.config.bring import BringEntry
from onegen.config.recipe import make_fields
from onegen.config.registry import available, find_brought
from onegen.errors import ConfigError
from onegen.pixels.placement import as_upright
from onegen.pixels.upright import silence_odd_metadata
from onegen.sample import IMAGE, Annotation, Annotator, BaseAnnotator, Item, Kind, Provides, Rejected
from onegen.shards.manifest import Producer, Provenance
from onegen.sources import Source


@dataclass(frozen=True)
class BroughtColumn(BaseAnnotator):
    """The annotator of one column that is brought: `reader` is its modality's, `is_upright` the entry's word."""

    name: str
    version: int
    provides: Provides
    reader: BroughtReader
    is_upright: bool = False

    needs_pixels: ClassVar[bool] = False

    def load(self) -> None:
        """Get ready for odd files."""
        silence_odd_metadata()

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return what the source brings of each item, Rejected `absent` where it brings nothing.

        Raises SampleError as the reader does.
        """
        return [self._answer(item) for item in items]

    def _answer(self, item: Item) -> Annotation | Rejected:
        brought = item.brought
        if brought is None:
            return Rejected("absent", f"the source brings nothing of this sample for {self.name}")
        if self.is_upright and brought.placement is not None:
            brought = dataclasses.replace(brought, placement=as_upright(brought.placement))
        return self.reader.take(dataclasses.replace(item, brought=brought))


def brought_job(source: Source, entry: BringEntry, kind: Kind) -> ColumnJob:
    """Return how a column of `bring` is made: from what the source says of items whose image is ok.

    Its settings are the entry. Raises ConfigError for a modality that cannot be brought, and for its options.
    """
    reader = make_reader(entry)
    options = {"from": list(entry.places), "upright": entry.upright, "reader": reader.version}
    settings: dict[str, Any] = {
        "name": entry.use,
        "version": source.version,
        "options": {**options, **dataclasses.asdict(reader)},  # type: ignore[call-overload]
        "weights": [],
    }
    # As a manifest gives them back: tuples are lists there, and a difference must be one.
    settings = json.loads(json.dumps(settings))
    producer = Producer(name=source.name, version=source.version)
    annotator = cast(Annotator, BroughtColumn(entry.use, source.version, reader.provides, reader, entry.upright))
    return ColumnJob(
        annotator,
        Provenance(entry.column, kind, settings, producer),
        gates=(IMAGE,),
        part_names=part_names(entry.column, entry.use, reader.provides),
    )


def make_reader(entry: BringEntry) -> BroughtReader:
    """Return the reader of an entry's modality; raises ConfigError where it cannot be brought, and for its options."""
    kind = find_brought(entry.use)
    if kind is None:
        can = [name for name in available("annotators") if find_brought(name) is not None]
        raise ConfigError(
            f"bring.{entry.column} must be one of {', '.join(can)}, got {entry.use!r}, which cannot be brought. "
            f"Leave it out, or let its annotator make it in a stage."
        )
    reader: BroughtReader = make_fields(
        kind, entry.options, f"bring.{entry.column}", f"options of bring.{entry.column}"
    )
    return reader
