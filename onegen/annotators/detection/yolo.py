"""Objects by YOLO of ultralytics: what One-Gen found people with."""

import functools
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from onegen.annotators import register
from onegen.annotators.detection import Detector
from onegen.annotators.shared.pixels import picture_of, pixels_of
from onegen.annotators.shared.torch_annotator import TorchAnnotator
from onegen.errors import ConfigError
from onegen.sample import CHANGES_NO_RESULT, Annotation, Item, Rejected
from onegen.weights.hub import HubModel

_OFFLINE = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0", "YOLO_VERBOSE": "0", "ULTRALYTICS_SAFE_LOAD": "1"}
"""It installs packages, fetches models and reports home unless it is told not to, before it is imported; and loads
nothing of a checkpoint but what is known to be harmless."""


@register("annotators", "detection", backend="yolo")
@dataclass(frozen=True)
class Yolo(Detector, TorchAnnotator):
    """Objects of the classes that `file` of `model` was trained on, COCO's 80 for the default, seen at `side` pixels.

    The package ultralytics and its models are under AGPL-3.0, which binds whoever offers a program with them to others,
    over a network too; their makers sell another licence. `rt-detr` does the same under Apache-2.0.
    """

    backend: Literal["yolo"] = "yolo"
    model: str = field(default="Ultralytics/YOLO11", metadata={CHANGES_NO_RESULT: True})
    file: str = "yolo11x.pt"
    side: int = 640

    producer: ClassVar[str] = "yolo"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"objects": 0.5}
    packages: ClassVar[Mapping[str, str]] = {"ultralytics": "ultralytics"}
    extra: ClassVar[str] = "yolo"

    def check(self) -> None:
        """Raise ConfigError for an option out of its range, and for a dtype that it does not compute in."""
        super().check()
        if self.side < 32 or self.side % 32:
            raise ConfigError(f"side of detection must be a multiple of 32, got {self.side}. Try 640.")
        if self.dtype == "bfloat16":
            raise ConfigError("dtype of YOLO must be float32 or float16, got bfloat16.")

    def hub_model(self) -> HubModel:
        """Return the handle of its weights: one file of the repository."""
        return HubModel(self.model, self.revision, (self.file,), self.sha256, self.extra)

    def build(self, folder: Path) -> Any:
        """Return ultralytics' model."""
        with self.loading("ultralytics"):
            network = _ultralytics().YOLO(folder / self.file)
            network.to(self.torch_device())
            return network

    def prepare(self, item: Item) -> Any:
        """Return the image as ultralytics takes it: BGR uint8 (H,W,3)."""
        return np.ascontiguousarray(np.asarray(picture_of(item))[:, :, ::-1])

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return of each the class numbers, scores, and boxes in shares of the image."""
        # Each picture in its own square: a batch of equal shapes would be padded otherwise than one of many.
        found = self.network().predict(
            list(prepared),
            imgsz=self.side,
            rect=False,
            conf=self.min_score,
            iou=self.overlap,
            max_det=self.max_objects,
            device=self.torch_device(),
            half=self.dtype == "float16",
            verbose=False,
        )
        return [tuple(_array(value) for value in (one.boxes.cls, one.boxes.conf, one.boxes.xyxyn)) for one in found]

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored."""
        labels, scores, boxes = answer
        height, width = pixels_of(item).shape[:2]
        named = self.network().names
        names = [str(named[index]) for index in range(len(named))]
        return self.kept(names, labels.astype(np.int64), scores, boxes * np.array([width, height] * 2), (height, width))


def _array(tensor: Any) -> np.ndarray:
    array: np.ndarray = tensor.float().cpu().numpy().astype(np.float64)
    return array


@functools.cache
def _ultralytics() -> Any:
    os.environ.update(_OFFLINE)
    os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp(prefix="onegen-yolo-"))
    import ultralytics

    return ultralytics
