"""CLIP's two towers (Radford et al., ICML 2021), the annotator's network, asked for embeddings and not a cosine."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from onegen.annotators.similarity.clip import Clip

LARGE, BASE = "openai/clip-vit-large-patch14", "openai/clip-vit-base-patch32"


@dataclass(frozen=True)
class ClipEncoder:
    """Embeddings of length 1 by a CLIP of transformers: a repository of the hub or a folder."""

    model: str

    @property
    def annotator(self) -> Clip:
        """The annotator that holds the network; raises ConfigError without the extra or the weights."""
        return Clip(model=self.model)

    def images(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Return (n,d) float64 of pictures."""
        import torch

        processor, network = self.annotator.network()
        inputs = processor(images=list(pictures), return_tensors="pt").to(network.device)
        with torch.inference_mode():
            return _unit(_vectors(network.get_image_features(**inputs)))

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n,d) float64 of texts, of which the first 77 tokens are read."""
        import torch

        processor, network = self.annotator.network()
        length = network.config.text_config.max_position_embeddings
        inputs = processor(text=list(texts), return_tensors="pt", padding=True, truncation=True, max_length=length)
        with torch.inference_mode():
            return _unit(_vectors(network.get_text_features(**inputs.to(network.device))))

    def identity(self) -> list[dict[str, str]]:
        """Return what a result records of the weights."""
        return identities(self.annotator.weights())


def identities(weights: Sequence[object]) -> list[dict[str, str]]:
    """Return weights as a result records them."""
    return [
        {name: str(getattr(weight, name)) for name in ("name", "revision", "sha256", "licence")} for weight in weights
    ]


def _vectors(said: object) -> np.ndarray:
    """Return what a tower says as an array; newer versions of transformers wrap it."""
    pooled = getattr(said, "pooler_output", said)
    return np.asarray(pooled.float().cpu().numpy(), np.float64)  # type: ignore[attr-defined]


def _unit(vectors: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
