"""Objects of a closed set by RT-DETR v2 (Lv et al., 2024), or any DETR of transformers: the permissive stand-in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from onegen.annotators import register
from onegen.annotators.detection import Detector, class_name
from onegen.annotators.shared.image_network import ImageNetwork
from onegen.annotators.shared.pixels import pixels_of
from onegen.sample import CHANGES_NO_RESULT, Annotation, Item, Rejected


@register("annotators", "detection", backend="rt-detr")
@dataclass(frozen=True)
class ClosedSet(Detector, ImageNetwork):
    """Objects of the classes that `model` was trained on, COCO's 80 for the default, with scores. Apache-2.0.

    Any object detector of transformers whose scores are sigmoids serves: RT-DETR, D-FINE, RF-DETR and their like.
    """

    backend: Literal["rt-detr"] = "rt-detr"
    model: str = field(default="PekingU/rtdetr_v2_r50vd", metadata={CHANGES_NO_RESULT: True})

    producer: ClassVar[str] = "rt-detr"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"objects": 0.5}
    loader: ClassVar[str] = "AutoModelForObjectDetection"

    def read(self, output: Any) -> Sequence[Any]:
        """Return of each the scores float32 (Q,C) of every class, and boxes float32 (Q,4) as centre and sides."""
        scores, boxes = output.logits.float().sigmoid().cpu().numpy(), output.pred_boxes.float().cpu().numpy()
        return list(zip(scores, boxes, strict=True))

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored: each box with its best class."""
        _, network = self.network()
        scores, boxes = answer
        size = pixels_of(item).shape[:2]
        names = [class_name(network.config.id2label[index]) for index in range(scores.shape[1])]
        return self.best(names, scores, boxes, size)
