"""GenEval's detector: Mask2Former (Cheng et al., CVPR 2022) with Swin-S on COCO instances, through transformers.

The benchmark runs OpenMMLab's file of it; the converted one on the hub is expected to say the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from PIL import Image

from onegen.annotators.detection import class_name
from onegen.annotators.shared.torch_annotator import TorchAnnotator
from onegen.eval.encoders.clip import identities
from onegen.eval.geneval.prompts import OTHER_NAMES
from onegen.eval.geneval.rules import Thing
from onegen.sample import CHANGES_NO_RESULT

MOST = 100
"""Instances of a picture, over all classes: mmdetection's `max_per_img`."""


@dataclass(frozen=True)
class Mask2Former(TorchAnnotator):
    """Instances with masks; only `things` is asked of it: it fills no column."""

    model: str = field(default="facebook/mask2former-swin-small-coco-instance", metadata={CHANGES_NO_RESULT: True})

    name: ClassVar[str] = "mask2former"
    version: ClassVar[int] = 1

    def build(self, folder: Path) -> Any:
        """Return the processor and the network."""
        from transformers import AutoImageProcessor, Mask2FormerForUniversalSegmentation

        network = self.from_folder(Mask2FormerForUniversalSegmentation, folder)
        return self.processor(AutoImageProcessor, folder), network

    def things(self, pixels: np.ndarray) -> list[Thing]:
        """Return the instances in an RGB uint8 (H,W,3) picture, best first.

        A score is the class's probability times the mask's mean over its own pixels; a box is that of the mask. A query
        may stand for several classes, as in mmdetection's post-processing.
        """
        import torch

        processor, network = self.network()
        inputs = processor(images=[Image.fromarray(pixels)], return_tensors="pt").to(network.device)
        with torch.inference_mode():
            said = network(**inputs)
        scores = said.class_queries_logits[0].float().softmax(dim=-1)[:, :-1].cpu().numpy()
        logits = said.masks_queries_logits[0].float().cpu().numpy()
        size = pixels.shape[:2]
        padded = tuple(inputs["pixel_values"].shape[2:])
        inner = _inner(inputs, padded)
        names = network.config.id2label
        best = np.argsort(-scores.ravel(), kind="stable")[:MOST]
        things = [
            _thing(names[int(index % scores.shape[1])], float(scores.ravel()[index]), logit, padded, inner, size)
            for index in best
            for logit in [logits[index // scores.shape[1]]]
        ]
        return sorted((thing for thing in things if thing is not None), key=lambda thing: -thing.score)

    def identity(self) -> list[dict[str, str]]:
        """Return what a result records of the weights."""
        return identities(self.weights())


def _inner(inputs: Any, padded: Sequence[int]) -> tuple[int, int]:
    """Return (height, width) of the picture inside what the network was fed, which is filled up at right and bottom."""
    mask = inputs.get("pixel_mask")
    if mask is None:
        return padded[0], padded[1]
    valid = mask[0].cpu().numpy()
    return int(valid[:, 0].sum()), int(valid[0].sum())


def _thing(
    label: str,
    score: float,
    logits: np.ndarray,
    padded: Sequence[int],
    inner: tuple[int, int],
    size: tuple[int, int],
) -> Thing | None:
    """Return an instance whose mask is not empty."""
    enlarged = cv2.resize(logits, (padded[1], padded[0]), interpolation=cv2.INTER_LINEAR)[: inner[0], : inner[1]]
    full = cv2.resize(enlarged, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    mask = full > 0
    if not mask.any():
        return None
    certainty = float((1.0 / (1.0 + np.exp(-full[mask].astype(np.float64)))).mean())
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    name = class_name(label)
    return Thing(OTHER_NAMES.get(name, name), box, score * certainty, mask)
