"""What is named in an image: at most ten detected things, each class with a colour of the 20-colour table.

Entity i is index i of `masks.png`. The colours are those of the semantic map, of the boxes and of the prompt
(`<#FF0000 red mask: cat>`), so they are fixed here and not when a picture is drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pyarrow as pa

from onegen.annotators import register
from onegen.annotators.shared.brought import brought_of
from onegen.annotators.shared.brought_records import ThingReader
from onegen.errors import ConfigError, SampleError
from onegen.pixels.boxes import BOX_FIELDS, box_fields
from onegen.sample import CAME_LATER, Annotation, BaseAnnotator, Item, Provides, Rejected
from onegen.shards.key import seed_of
from onegen.tasks.colours import COLOURS, assign_colours

NAMED = pa.struct([("label", pa.string()), ("colour", pa.string()), ("score", pa.float64()), *BOX_FIELDS])
"""One entity: class name, colour name, the detection's score and box in pixels."""
PROVIDES = Provides(fields={"entities": pa.list_(NAMED), "num_entities": pa.int32()})


@register("annotators", "entities", backend="embedded")
@dataclass(frozen=True)
class Entities(BaseAnnotator):
    """At most `max_entities` things of the column `boxes`, with `min_score` or more, best first. Exact.

    The best of each class comes before a second one of any, so that a crowd does not hide its dog. All of a class have
    one colour, drawn at random from the key (One-Gen: "each class is assigned a random colour from a predefined list").
    """

    backend: Literal["embedded"] = "embedded"
    min_score: float = 0.35
    max_entities: int = 10
    boxes: str = field(default="detection", metadata={CAME_LATER: True})

    name: ClassVar[str] = "entities"
    version: ClassVar[int] = 2
    provides: ClassVar[Provides] = PROVIDES
    needs_pixels: ClassVar[bool] = False

    def check(self) -> None:
        """Raise ConfigError for a score outside [0, 1], and for more entities than colours."""
        if not 0.0 <= self.min_score <= 1.0:
            raise ConfigError(f"min_score of entities must be in [0, 1], got {self.min_score}.")
        if not 1 <= self.max_entities <= 20:
            raise ConfigError(
                f"max_entities of entities must be 1 to 20 (there are 20 colours), got {self.max_entities}."
            )

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override]
        """The column of boxes."""
        return (self.boxes,)

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the entities of each item."""
        return [self._entities(item) for item in items]

    def _entities(self, item: Item) -> Annotation:
        objects = item.annotations[self.boxes].values.get("objects") or []
        return annotation_of(self._chosen([thing for thing in objects if thing["score"] >= self.min_score]), item.key)

    def _chosen(self, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the objects kept, in their order (best first)."""
        seen: set[str] = set()
        firsts: list[int] = []
        others: list[int] = []
        for index, thing in enumerate(objects):
            (others if thing["label"] in seen else firsts).append(index)
            seen.add(thing["label"])
        return [objects[index] for index in sorted((firsts + others)[: self.max_entities])]


def annotation_of(things: Sequence[Mapping[str, Any]], key: str) -> Annotation:
    """Return what the column stores of things in their order: each class has a colour, drawn from the key."""
    seed = seed_of(key, Entities.name, Entities.version)
    colours = {entity.label: entity.colour for entity in assign_colours([thing["label"] for thing in things], seed)}
    entities = [{**thing, "colour": colours[thing["label"]]} for thing in things]
    return Annotation({"entities": entities, "num_entities": len(entities)})


@dataclass(frozen=True)
class BroughtEntities(ThingReader):
    """Entities that a source brings, in the order that its masks count: records as in boxes that are brought.

    Their colours are drawn as for any other, so there are at most 20 classes.
    """

    provides: ClassVar[Provides] = PROVIDES

    def take(self, item: Item) -> Annotation:
        """Return what the column stores; raises SampleError brought_box or brought_value."""
        brought = brought_of(item)
        labels, scores, boxes = self.named(brought, "entities")
        if len(set(labels)) > len(COLOURS):
            raise SampleError(
                "brought_value",
                f"{brought.place} must name at most {len(COLOURS)} classes, which is how many colours there are, got "
                f"{len(set(labels))}.",
            )
        things = [
            {"label": label, "score": float(score), **box_fields(round(float(side), 1) for side in box)}
            for label, score, box in zip(labels, scores, boxes, strict=True)
        ]
        return annotation_of(things, item.key)


BROUGHT = BroughtEntities
