"""Boxes of what a captioner named, by Grounding DINO (Liu et al., ECCV 2024): One-Gen's open-vocabulary detector."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from onegen.annotators import register
from onegen.annotators.detection import Detector
from onegen.annotators.shared.pixels import picture_of, pixels_of
from onegen.annotators.shared.torch_annotator import TorchAnnotator, gathered
from onegen.sample import CHANGES_NO_RESULT, Annotation, Item, Rejected

_TOKENS = 32
"""Texts are filled up to a multiple of so many tokens, so that pictures with other names share a batch."""


@register("annotators", "detection", backend="grounding-dino")
@dataclass(frozen=True)
class Grounded(Detector, TorchAnnotator):
    """Where the things of column `names` are, each box with the name that it fits best and how well. Apache-2.0.

    A box's score for a name is the best of the name's tokens. What is not named is not looked for; a picture without
    names has no objects. Its makers keep boxes from 0.35.
    """

    backend: Literal["grounding-dino"] = "grounding-dino"
    model: str = field(default="IDEA-Research/grounding-dino-base", metadata={CHANGES_NO_RESULT: True})
    min_score: float = 0.35

    producer: ClassVar[str] = "grounding-dino"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"objects": 0.5}
    requires: ClassVar[tuple[str, ...]] = ("names",)

    def build(self, folder: Path) -> Any:
        """Return the processor and the network."""
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        return self.processor(AutoProcessor, folder), self.from_folder(AutoModelForZeroShotObjectDetection, folder)

    def prepare(self, item: Item) -> Any:
        """Return the image and the text, and which tokens are of which name; None without names."""
        names = item.annotations["names"].values.get("names") or []
        if not names:
            return None
        processor, _ = self.network()
        text, spans = prompt_of(names)
        tokens = processor.tokenizer(
            text, return_offsets_mapping=True, padding=True, pad_to_multiple_of=_TOKENS, return_tensors="pt"
        )
        owners = tokens_of(tokens.pop("offset_mapping")[0].tolist(), spans)
        inputs = {name: value[0] for name, value in tokens.items()}
        image = processor.image_processor(picture_of(item), return_tensors="pt")
        return {**inputs, "pixel_values": image["pixel_values"][0], "pixel_mask": image["pixel_mask"][0]}, owners

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return of each the scores float32 (Q,N) of every name, and boxes float32 (Q,4); None without names."""
        _, network = self.network()
        asked = [index for index, inputs in enumerate(prepared) if inputs is not None]
        owners = [prepared[index][1] for index in asked]

        def run(batch: Mapping[str, Any], indices: Sequence[int]) -> list[Any]:
            found = network(**batch)
            tokens, boxes = found.logits.float().sigmoid().cpu().numpy(), found.pred_boxes.float().cpu().numpy()
            scores = [name_scores(row, owners[index]) for row, index in zip(tokens, indices, strict=True)]
            return list(zip(scores, boxes, strict=True))

        answers = dict(zip(asked, gathered([prepared[index][0] for index in asked], network, run), strict=True))
        return [answers.get(index) for index in range(len(prepared))]

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored: each box with its best name."""
        size = pixels_of(item).shape[:2]
        if answer is None:
            return self.kept([], np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 4)), size)
        scores, boxes = answer
        names = item.annotations["names"].values["names"]
        return self.best(names, scores, boxes, size)


def prompt_of(names: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Return the text that names things as the model was trained, each closed by a full stop, and where each stands."""
    text, spans = "", []
    for name in names:
        plain = re.sub(r"[.\s]+", " ", name).strip().lower()
        spans.append((len(text), len(text) + len(plain)))
        text += f"{plain}. "
    return text.strip(), spans


def tokens_of(offsets: Sequence[Sequence[int]], spans: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return the tokens of each name, given where tokens and names stand in the text."""
    return [
        [index for index, (start, end) in enumerate(offsets) if first <= start < end <= last] for first, last in spans
    ]


def name_scores(tokens: np.ndarray, owners: Sequence[Sequence[int]]) -> np.ndarray:
    """Return how well boxes fit names (Q,N), given how well they fit tokens (Q,T): as their best token."""
    return np.stack([tokens[:, owned].max(axis=1) if owned else np.zeros(len(tokens)) for owned in owners], axis=1)
