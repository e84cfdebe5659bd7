"""Masks by SAM 3 (Meta, 2025), asked for by the entities' names: what it finds is matched with their boxes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from onegen.annotators import register
from onegen.annotators.segmentation import PROVIDES
from onegen.annotators.shared.pixels import picture_of
from onegen.annotators.shared.prompted import boxes_on, entities_of, masked
from onegen.annotators.shared.torch_annotator import TorchAnnotator
from onegen.errors import ConfigError
from onegen.pixels.boxes import iou
from onegen.sample import CHANGES_NO_RESULT, Annotation, Item, Provides, Rejected


@register("annotators", "segmentation", backend="sam3")
@dataclass(frozen=True)
class Sam3(TorchAnnotator):
    """The mask of every entity: of the instances of its name, the one whose box is nearest to the entity's own.

    Instances below `min_score` are dropped, and an entity whose box none shares by `min_overlap` (IoU) has an empty
    mask. `model` is gated, under Meta's SAM licence. A picture is encoded once, each name asked in a pass of its own.
    """

    backend: Literal["sam3"] = "sam3"
    model: str = field(default="facebook/sam3", metadata={CHANGES_NO_RESULT: True})
    min_score: float = 0.3
    min_overlap: float = 0.3

    name: ClassVar[str] = "segmentation"
    producer: ClassVar[str] = "sam3"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"masks.png": 255.0, "areas": 0.01, "coverage": 0.01}
    requires: ClassVar[tuple[str, ...]] = ("entities",)
    provides: ClassVar[Provides] = PROVIDES

    def check(self) -> None:
        """Raise ConfigError for a threshold outside [0, 1]."""
        for option in ("min_score", "min_overlap"):
            if not 0.0 <= getattr(self, option) <= 1.0:
                raise ConfigError(f"{option} of segmentation must be in [0, 1], got {getattr(self, option)}.")

    def build(self, folder: Path) -> Any:
        """Return the processor and the network."""
        from transformers import Sam3Model, Sam3Processor

        return self.processor(Sam3Processor, folder), self.from_folder(Sam3Model, folder)

    def prepare(self, item: Item) -> Any:
        """Return the image, the names and the entities as the network takes them; None without entities."""
        labels = [str(entity["label"]) for entity in entities_of(item)]
        if not labels:
            return None
        processor, _ = self.network()
        picture = picture_of(item)
        names = list(dict.fromkeys(labels))
        texts = processor(text=names, return_tensors="pt", padding="max_length")
        image = processor(images=picture, return_tensors="pt")["pixel_values"]
        boxes = boxes_on(item, picture) / np.array([picture.width, picture.height] * 2)
        asked = {"input_ids": texts["input_ids"], "attention_mask": texts["attention_mask"]}
        return image, asked, [names.index(label) for label in labels], boxes

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return the logits float32 (N,h,w) of each picture's entities."""
        return [np.zeros((0, 1, 1), np.float32) if inputs is None else self._masks(*inputs) for inputs in prepared]

    def _masks(self, image: Any, asked: Mapping[str, Any], owners: Sequence[int], boxes: np.ndarray) -> np.ndarray:
        import torch

        _, network = self.network()
        found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        with torch.inference_mode():
            seen = network.get_vision_features(pixel_values=image.to(network.device, network.dtype))
            for name in range(len(asked["input_ids"])):
                text = {key: value[name : name + 1].to(network.device) for key, value in asked.items()}
                said = network(vision_embeds=seen, **text)
                scores = said.pred_logits.float().sigmoid() * said.presence_logits.float().sigmoid()
                found.append((_array(scores[0]), _array(said.pred_boxes[0]), _array(said.pred_masks[0])))
        return np.stack([self._matched(*found[owner], box) for owner, box in zip(owners, boxes, strict=True)])

    def _matched(self, scores: np.ndarray, boxes: np.ndarray, masks: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Return the logits (h,w) of the instance that an entity's box is of; all below 0 where there is none."""
        overlaps = iou(boxes.astype(np.float64), box[np.newaxis])[:, 0] * (scores >= self.min_score)
        best = int(overlaps.argmax()) if len(overlaps) else -1
        if best < 0 or overlaps[best] < self.min_overlap or overlaps[best] == 0:
            return np.full(masks.shape[1:], -1.0, np.float32)
        matched: np.ndarray = masks[best]
        return matched

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored."""
        return masked(item, answer)


def _array(tensor: Any) -> np.ndarray:
    array: np.ndarray = tensor.float().cpu().numpy()
    return array
