"""Whether a caption is of its picture, by a model that sees both. What the column stores, whichever backend made it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from onegen.annotators.shared.pixels import picture_of
from onegen.annotators.shared.torch_annotator import TorchAnnotator, gathered
from onegen.sample import Annotation, Item, Provides, Rejected

DEFAULT_BACKEND = "siglip"
"""No package ships weights for it."""
PROVIDES = Provides(fields={"similarity": pa.float64(), "probability": pa.float64()})
"""`similarity`: the cosine between picture and caption, in [-1, 1]; values compare within one model.

`probability`: that they belong together, in [0, 1], by a model that was trained to say so; null of others.
"""


@dataclass(frozen=True)
class TwoTowers(TorchAnnotator):
    """Base of backends: a tower for pictures, a tower for text, and the cosine of what they say."""

    name: ClassVar[str] = "similarity"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"similarity": 1e-4, "probability": 1e-4}
    requires: ClassVar[tuple[str, ...]] = ("caption",)
    provides: ClassVar[Provides] = PROVIDES
    text_options: ClassVar[Mapping[str, Any]] = {"padding": "max_length", "truncation": True}
    """Every text is filled up to the same length, so that its neighbours change nothing."""

    def build(self, folder: Path) -> Any:
        """Return the processor and the network."""
        from transformers import AutoModel, AutoProcessor

        return self.processor(AutoProcessor, folder), self.from_folder(AutoModel, folder)

    def prepare(self, item: Item) -> Any:
        """Return picture and caption as the network takes them; None where there is no caption."""
        caption = item.annotations["caption"].values.get("caption")
        if not caption:
            return None
        processor, network = self.network()
        length = network.config.text_config.max_position_embeddings
        # Texts are filled up on the right, as the networks were trained, whatever a repository's settings say.
        processor.tokenizer.padding_side = "right"
        inputs = processor(
            text=[self.read(caption)],
            images=[picture_of(item)],
            return_tensors="pt",
            max_length=length,
            **self.text_options,
        )
        return {name: value[0] for name, value in inputs.items()}

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return of each the cosine, and what the network makes of it; None without a caption."""
        _, network = self.network()
        asked = [index for index, inputs in enumerate(prepared) if inputs is not None]

        def run(batch: Mapping[str, Any], _: Sequence[int]) -> list[Any]:
            said = network(**batch)
            images, texts = said.image_embeds.float(), said.text_embeds.float()
            cosines = (images * texts).sum(dim=1) / images.norm(dim=1) / texts.norm(dim=1)
            return list(zip(cosines.tolist(), said.logits_per_image.float().diagonal().tolist(), strict=True))

        given = dict(zip(asked, gathered([prepared[index] for index in asked], network, run), strict=True))
        return [given.get(index) for index in range(len(prepared))]

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored."""
        if answer is None:
            return Rejected("absent", "there is no caption to compare with")
        cosine, logit = answer
        probability = self.probability(logit)
        return Annotation(
            {
                "similarity": round(min(max(cosine, -1.0), 1.0), 6),
                "probability": None if probability is None else round(probability, 6),
            }
        )

    def read(self, caption: str) -> str:
        """Return a caption as the network was taught to read."""
        return caption

    def probability(self, logit: float) -> float | None:
        """Return what a logit says of picture and caption alone, None where it only compares captions."""
        return None
