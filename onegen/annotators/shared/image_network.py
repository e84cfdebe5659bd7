"""Networks of transformers that take a picture and nothing else: what their annotators have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from onegen.annotators.shared.pixels import picture_of
from onegen.annotators.shared.torch_annotator import TorchAnnotator, gathered
from onegen.sample import Item


@dataclass(frozen=True)
class ImageNetwork(TorchAnnotator):
    """Base of such annotators: a subclass names the class of transformers that loads it, and reads its output."""

    loader: ClassVar[str]
    """The class of transformers."""

    def build(self, folder: Path) -> Any:
        """Return the processor and the network."""
        import transformers

        network = self.from_folder(getattr(transformers, self.loader), folder)
        return self.processor(transformers.AutoImageProcessor, folder), network

    def prepare(self, item: Item) -> Any:
        """Return the image as the network takes it."""
        processor, _ = self.network()
        return {"pixel_values": processor(picture_of(item), return_tensors="pt")["pixel_values"][0]}

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return what `read` makes of each."""
        _, network = self.network()
        return gathered(prepared, network, lambda batch, _: self.read(network(**batch)))

    def read(self, output: Any) -> Sequence[Any]:
        """Return what is told of each picture of a batch, given what the network said of it."""
        raise NotImplementedError
