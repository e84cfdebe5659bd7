"""How much people would like a picture, by LAION's improved aesthetic predictor (Schuhmann, 2022) on CLIP."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from onegen.annotators import register
from onegen.annotators.aesthetic import PROVIDES, annotation_of
from onegen.annotators.shared.pixels import picture_of
from onegen.annotators.shared.torch_annotator import TorchAnnotator, gathered
from onegen.errors import ConfigError
from onegen.sample import CHANGES_NO_RESULT, Annotation, Item, ModelHandle, Provides, Rejected
from onegen.weights.hub import HubModel


@register("annotators", "aesthetic", backend="laion")
@dataclass(frozen=True)
class Laion(TorchAnnotator):
    """A mark by `head_file` of `head` on what `model`, a CLIP, sees; the head was trained on CLIP ViT-L/14.

    It was taught by marks for generated pictures, logos and photos, and likes paintings. MIT and Apache-2.0.
    """

    backend: Literal["laion"] = "laion"
    model: str = field(default="openai/clip-vit-large-patch14", metadata={CHANGES_NO_RESULT: True})
    head: str = field(default="trl-lib/ddpo-aesthetic-predictor", metadata={CHANGES_NO_RESULT: True})
    head_revision: str = field(default="main", metadata={CHANGES_NO_RESULT: True})
    head_file: str = "aesthetic-model.pth"

    name: ClassVar[str] = "aesthetic"
    producer: ClassVar[str] = "laion-aesthetic"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"aesthetic": 0.01}
    provides: ClassVar[Provides] = PROVIDES

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "head_revision", self._head().commit())

    def models(self) -> tuple[ModelHandle, ...]:
        """Return the handles of CLIP and of the head."""
        return (self.hub_model(), self._head())

    def _head(self) -> HubModel:
        return HubModel(self.head, self.head_revision, (self.head_file,), extra=self.extra)

    def build(self, folder: Path) -> Any:
        """Return CLIP's processor, the part of it that sees, and the head."""
        import torch
        from transformers import AutoImageProcessor, CLIPVisionModelWithProjection

        network = self.from_folder(CLIPVisionModelWithProjection, folder)
        with self.loading("torch"):
            weights = torch.load(self._head().folder() / self.head_file, map_location="cpu", weights_only=True)
        head = head_of(weights)
        width, read = network.config.projection_dim, head[0].in_features
        if read != width:
            raise ConfigError(f"head of aesthetic must read {width} numbers, as {self.model} gives, and reads {read}.")
        return self.processor(AutoImageProcessor, folder), network, self.ready(head)

    def prepare(self, item: Item) -> Any:
        """Return the image as CLIP takes it."""
        processor, _, _ = self.network()
        return {"pixel_values": processor(picture_of(item), return_tensors="pt")["pixel_values"][0]}

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return the mark of each."""
        _, network, head = self.network()

        def run(batch: Mapping[str, Any], _: Sequence[int]) -> list[Any]:
            seen = network(**batch).image_embeds
            marks: list[float] = head(seen / seen.norm(dim=1, keepdim=True)).float()[:, 0].tolist()
            return marks

        return gathered(prepared, network, run)

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored."""
        return annotation_of(answer)


def head_of(weights: Mapping[str, Any]) -> Any:
    """Return the layers of a head, one after another, of the sizes that its weights have.

    What lies between them drops numbers at random while a head is taught, and does nothing afterwards.
    """
    import torch

    numbers = sorted({int(match[1]) for name in weights if (match := re.search(r"(\d+)\.weight$", name))})
    by_number = {
        (int(match[1]), match[2]): value
        for name, value in weights.items()
        if (match := re.search(r"(\d+)\.(weight|bias)$", name))
    }
    layers = []
    for number in numbers:
        weight, bias = by_number[number, "weight"], by_number[number, "bias"]
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": bias})
        layers.append(layer)
    if not layers:
        raise ConfigError("head of aesthetic must hold linear layers, and holds none.")
    return torch.nn.Sequential(*layers)
