"""Human poses by ViTPose (Xu et al., NeurIPS 2022), One-Gen's own: COCO's 17 points for each detected person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import numpy as np

from onegen.annotators import register
from onegen.annotators.pose import LEGS, PROVIDES, PosedPeople, annotation_of, in_image, person
from onegen.annotators.shared.pixels import picture_of, pixels_of
from onegen.annotators.shared.torch_annotator import TorchAnnotator
from onegen.errors import ConfigError
from onegen.pixels.boxes import box_of
from onegen.sample import CHANGES_NO_RESULT, Annotation, Item, Provides, Rejected

_SEEN = 0.3
"""Score from which its makers draw a point."""


@register("annotators", "pose", backend="vitpose")
@dataclass(frozen=True)
class VitPose(PosedPeople, TorchAnnotator):
    """People of column `detection`, best first, with 17 keypoints each, by `model`, any ViTPose of transformers.

    A person's score is the mean of its points'; one that lies outside of the image has visibility 0. Whose hips,
    knees or ankles score below 0.3 or lie outside is half a body. At most `batch_people` crops run at once. Apache-2.0.
    """

    backend: Literal["vitpose"] = "vitpose"
    model: str = field(default="usyd-community/vitpose-base-simple", metadata={CHANGES_NO_RESULT: True})
    batch_people: int = field(default=64, metadata={CHANGES_NO_RESULT: True})

    name: ClassVar[str] = "pose"
    producer: ClassVar[str] = "vitpose"
    version: ClassVar[int] = 2
    tolerance: ClassVar[Mapping[str, float]] = {"people": 0.5}
    provides: ClassVar[Provides] = PROVIDES

    def check(self) -> None:
        """Raise ConfigError for an option out of its range."""
        super().check()
        if self.batch_people < 1:
            raise ConfigError(f"batch_people of pose must be at least 1, got {self.batch_people}.")

    def build(self, folder: Path) -> Any:
        """Return the processor and the network."""
        from transformers import AutoProcessor, VitPoseForPoseEstimation

        return self.processor(AutoProcessor, folder), self.from_folder(VitPoseForPoseEstimation, folder)

    def prepare(self, item: Item) -> Any:
        """Return a crop of each person, float32 (N,3,h,w); None where there is nobody."""
        boxes = self._boxes(item)
        if not boxes:
            return None
        processor, _ = self.network()
        return processor(picture_of(item), boxes=[boxes], return_tensors="pt")["pixel_values"]

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return the heatmaps float32 (N,17,h,w) of each picture's people."""
        import torch

        _, network = self.network()
        counts = [0 if crops is None else len(crops) for crops in prepared]
        if not sum(counts):
            return [None] * len(prepared)
        crops = torch.cat([crops for crops in prepared if crops is not None])
        # Mixtures of experts were trained on several datasets, of which the first is COCO.
        is_mixture = getattr(network.config.backbone_config, "num_experts", 1) > 1
        maps = []
        with torch.inference_mode():
            for some in crops.split(self.batch_people):
                inputs = {"pixel_values": some.to(network.device, network.dtype)}
                if is_mixture:
                    inputs["dataset_index"] = torch.zeros(len(some), dtype=torch.int64, device=network.device)
                maps.append(network(**inputs).heatmaps.float().cpu())
        return list(torch.cat(maps).split(counts))

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored: each map's peak as a point of the image."""
        people = self.people_of(item)
        if not people:
            return annotation_of([])
        processor, _ = self.network()
        # Its threshold would leave points out; what is stored says how sure each is instead.
        posed = processor.post_process_pose_estimation(SimpleNamespace(heatmaps=answer), boxes=[self._boxes(item)])[0]
        picture, (height, width) = picture_of(item), pixels_of(item).shape[:2]
        scale = np.array([width / picture.width, height / picture.height])
        return annotation_of(
            [
                _posed(detection, one["keypoints"].numpy() * scale, one["scores"].numpy(), (height, width))
                for detection, one in zip(people, posed, strict=True)
            ]
        )

    def _boxes(self, item: Item) -> list[list[float]]:
        """Return the people's boxes as corner and sides, on the picture that stands for the image."""
        picture, (height, width) = picture_of(item), pixels_of(item).shape[:2]
        across, down = picture.width / width, picture.height / height
        boxes = [box_of(detection) for detection in self.people_of(item)]
        return [[x0 * across, y0 * down, (x1 - x0) * across, (y1 - y0) * down] for x0, y0, x1, y1 in boxes]


def _posed(
    detection: Mapping[str, Any], points: np.ndarray, scores: np.ndarray, size: tuple[int, int]
) -> dict[str, Any]:
    scores = np.clip(scores.reshape(-1).astype(np.float64), 0.0, 1.0)
    inside = in_image(points, size)
    is_half = not (inside & (scores >= _SEEN))[LEGS].all()
    return person(detection, float(scores.mean()), np.column_stack([points, scores * inside]), is_half)
