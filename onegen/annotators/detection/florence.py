"""Objects by Florence-2 (Xiao et al., CVPR 2024), which writes down names and boxes."""

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

_TASK = "<OD>"
_MOST_TOKENS = 1024


@register("annotators", "detection", backend="florence")
@dataclass(frozen=True)
class Florence(Detector, TorchAnnotator):
    """Objects by the names that `model` gives them, of no fixed list. MIT.

    It says no scores: every one is 1, so that of two boxes that overlap the one that was written first is kept.
    """

    backend: Literal["florence"] = "florence"
    model: str = field(default="florence-community/Florence-2-large-ft", metadata={CHANGES_NO_RESULT: True})

    producer: ClassVar[str] = "florence"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"objects": 0.0}

    def build(self, folder: Path) -> Any:
        """Return the processor and the network."""
        from transformers import AutoProcessor, Florence2ForConditionalGeneration

        return self.processor(AutoProcessor, folder), self.from_folder(Florence2ForConditionalGeneration, folder)

    def prepare(self, item: Item) -> Any:
        """Return the image and the task as the network takes them."""
        processor, _ = self.network()
        inputs = processor(text=_TASK, images=picture_of(item), return_tensors="pt")
        return {name: value[0] for name, value in inputs.items()}

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return what the network writes of each."""
        processor, network = self.network()

        def run(batch: Mapping[str, Any], _: Sequence[int]) -> list[Any]:
            written = network.generate(**batch, max_new_tokens=_MOST_TOKENS, do_sample=False, num_beams=1)
            texts: list[str] = processor.tokenizer.batch_decode(written[:, 1:], skip_special_tokens=False)
            return texts

        return gathered(prepared, network, run)

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored of what was written."""
        processor, _ = self.network()
        height, width = pixels_of(item).shape[:2]
        found = processor.post_process_generation(answer, task=_TASK, image_size=(width, height))[_TASK]
        labels = [str(label).strip().lower() for label in found["labels"]]
        names = sorted(set(labels))
        numbers = np.array([names.index(label) for label in labels], np.int64)
        boxes = np.array(found["bboxes"], np.float64).reshape(-1, 4)
        return self.kept(names, numbers, np.ones(len(labels)), boxes, (height, width))
