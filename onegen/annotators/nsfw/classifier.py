"""How likely a picture is unsafe, by an image classifier of transformers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from onegen.annotators import register
from onegen.annotators.nsfw import PROVIDES, annotation_of
from onegen.annotators.shared.image_network import ImageNetwork
from onegen.errors import ConfigError
from onegen.sample import CHANGES_NO_RESULT, Annotation, Item, Provides, Rejected


@register("annotators", "nsfw", backend="classifier")
@dataclass(frozen=True)
class NsfwClassifier(ImageNetwork):
    """The probability of all the labels in `unsafe` together, by `model`. Apache-2.0."""

    backend: Literal["classifier"] = "classifier"
    model: str = field(default="Falconsai/nsfw_image_detection", metadata={CHANGES_NO_RESULT: True})
    unsafe: tuple[str, ...] = ("nsfw",)

    name: ClassVar[str] = "nsfw"
    producer: ClassVar[str] = "nsfw-classifier"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"nsfw": 1e-4}
    provides: ClassVar[Provides] = PROVIDES
    loader: ClassVar[str] = "AutoModelForImageClassification"

    def build(self, folder: Path) -> Any:
        """Return the processor and the network. Raises ConfigError where it has none of the labels."""
        processor, network = super().build(folder)
        labels = list(network.config.id2label.values())
        if not set(self.unsafe) & set(labels):
            raise ConfigError(f"unsafe of nsfw must name labels of {self.model}, got {self.unsafe}, not of {labels}.")
        return processor, network

    def read(self, output: Any) -> Sequence[Any]:
        """Return the probabilities float32 (C,) of every label of each."""
        return list(output.logits.float().softmax(-1).cpu().numpy())

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored."""
        _, network = self.network()
        named = network.config.id2label
        return annotation_of(sum(float(answer[index]) for index in range(len(answer)) if named[index] in self.unsafe))
