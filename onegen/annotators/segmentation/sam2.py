"""Masks by SAM 2 (Ravi et al., 2024), from the boxes of the entities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from onegen.annotators import register
from onegen.annotators.segmentation import PROVIDES
from onegen.annotators.shared.pixels import picture_of
from onegen.annotators.shared.prompted import best_of, boxes_on, masked
from onegen.annotators.shared.torch_annotator import TorchAnnotator, gathered
from onegen.sample import CHANGES_NO_RESULT, Annotation, Item, Provides, Rejected


@register("annotators", "segmentation", backend="sam2")
@dataclass(frozen=True)
class Sam2(TorchAnnotator):
    """The mask of every entity: of the three that `model` offers for its box, the one it believes fits best.

    Pictures with equally many entities share a batch. Apache-2.0.
    """

    backend: Literal["sam2"] = "sam2"
    model: str = field(default="facebook/sam2.1-hiera-large", metadata={CHANGES_NO_RESULT: True})

    name: ClassVar[str] = "segmentation"
    producer: ClassVar[str] = "sam2"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"masks.png": 255.0, "areas": 0.01, "coverage": 0.01}
    requires: ClassVar[tuple[str, ...]] = ("entities",)
    provides: ClassVar[Provides] = PROVIDES

    def build(self, folder: Path) -> Any:
        """Return the processor and the network."""
        from transformers import Sam2Model, Sam2Processor

        return self.processor(Sam2Processor, folder), self.from_folder(Sam2Model, folder)

    def prepare(self, item: Item) -> Any:
        """Return the image and the boxes as the network takes them; None without entities."""
        picture = picture_of(item)
        boxes = boxes_on(item, picture)
        if not len(boxes):
            return None
        processor, _ = self.network()
        inputs = processor(images=picture, input_boxes=[boxes.tolist()], return_tensors="pt")
        return {"pixel_values": inputs["pixel_values"][0], "input_boxes": inputs["input_boxes"][0].float()}

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return the logits float32 (N,h,w) of each picture's entities."""
        _, network = self.network()
        asked = [index for index, inputs in enumerate(prepared) if inputs is not None]

        def run(batch: Mapping[str, Any], _: Sequence[int]) -> list[np.ndarray]:
            found = network(**batch, multimask_output=True)
            masks, fits = found.pred_masks.float().cpu().numpy(), found.iou_scores.float().cpu().numpy()
            return [best_of(*pair) for pair in zip(masks, fits, strict=True)]

        given = dict(zip(asked, gathered([prepared[index] for index in asked], network, run), strict=True))
        return [given.get(index, np.zeros((0, 1, 1), np.float32)) for index in range(len(prepared))]

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored."""
        return masked(item, answer)
