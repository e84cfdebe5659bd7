"""Objects of COCO's 80 classes by YOLO11 of ultralytics, and its other detectors. AGPL-3.0, code and weights."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import cv2
import numpy as np

from onegen.annotators import register
from onegen.annotators.detection import Detector, class_name, corners_of
from onegen.annotators.shared.pixels import picture_of, pixels_of
from onegen.annotators.shared.torch_annotator import TorchAnnotator, gathered
from onegen.errors import ConfigError
from onegen.sample import CHANGES_NO_RESULT, Annotation, Item, Rejected
from onegen.weights.folder import models_folder
from onegen.weights.hub import HubModel

_STRIDE, _GREY = 32, 114


@register("annotators", "detection", backend="yolo")
@dataclass(frozen=True)
class Yolo(Detector, TorchAnnotator):
    """Objects of the classes of `file` of `model`, a detector of ultralytics: COCO's 80.

    AGPL-3.0, weights and package: it binds whoever offers a program with it to others. Backend `rt-detr` is the
    permissive stand-in. The image is letterboxed to `side` pixels. Boxes below `min_score` are dropped, and those that
    overlap a better one by more than `overlap` or `cross_overlap`.
    """

    backend: Literal["yolo"] = "yolo"
    model: str = field(default="Ultralytics/YOLO11", metadata={CHANGES_NO_RESULT: True})
    file: str = "yolo11x.pt"
    side: int = 640

    producer: ClassVar[str] = "yolo"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"objects": 0.5}
    packages: ClassVar[Mapping[str, str]] = {"ultralytics": "ultralytics", "torchvision": "torchvision"}
    extra: ClassVar[str] = "yolo"

    def check(self) -> None:
        """Raise ConfigError for an option out of its range."""
        super().check()
        if self.side < _STRIDE or self.side % _STRIDE:
            raise ConfigError(f"side of detection must be a multiple of {_STRIDE}, got {self.side}.")
        if self.dtype == "bfloat16":
            raise ConfigError("dtype of detection must be float32 or float16 for YOLO: bfloat16 misplaces boxes.")
        if not self.file.endswith(".pt"):
            raise ConfigError(f"file of detection must end in .pt, got {self.file!r}.")

    def hub_model(self) -> HubModel:
        """Return the handle of the one file that is wanted of a repository with many."""
        return HubModel(self.model, self.revision, (self.file,), self.sha256, self.extra)

    def build(self, folder: Path) -> Any:
        """Return the network. Only classes of ultralytics and torch are read out of the file, and nothing else run."""
        tasks = ultralytics_tasks()
        with self.loading("ultralytics"):
            checkpoint, _ = tasks.torch_safe_load(str(folder / self.file), safe_only=True)
            network = checkpoint.get("ema") or checkpoint.get("model")
            if type(network) is not tasks.DetectionModel:
                raise TypeError(f"{self.file} holds a {type(network).__name__}, which is no detector.")
        fused: Any = network.float().fuse(verbose=False)
        return self.ready(fused)

    def prepare(self, item: Item) -> Any:
        """Return the image letterboxed, and where in it the picture lies (left, top, width, height)."""
        import torch

        square, placed = letterboxed(np.asarray(picture_of(item)), self.side)
        values = torch.from_numpy(square).permute(2, 0, 1).contiguous().float() / 255
        return {"pixel_values": values, "placed": torch.tensor(placed)}

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return class indices (N,), scores (N,) and boxes (N,4), shares of the image, of `min_score` or more."""
        network = self.network()

        def run(batch: Any, _: Sequence[int]) -> Any:
            said = network(batch["pixel_values"])[0].float().cpu().numpy()
            placed = batch["placed"].cpu().numpy()
            return [decode(one, where, self.min_score) for one, where in zip(said, placed, strict=True)]

        return gathered(prepared, network, run)

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return the objects that are stored."""
        classes, scores, boxes = answer
        height, width = pixels_of(item).shape[:2]
        named = self.network().names
        names = [class_name(str(named[index])) for index in range(len(named))]
        return self.kept(names, classes, scores, boxes * np.array([width, height] * 2), (height, width))


def ultralytics_tasks() -> Any:
    """Return the module of ultralytics that knows its networks, with what importing it does to others undone.

    It exchanges Pillow's `open`, OpenCV's readers and torch's `save` for its own: by them every picture of this process
    would be read from then on, and what is none would fail otherwise.
    """
    import torch
    from PIL import Image

    # Read when the package is imported, which else asks for a public address and may install packages.
    os.environ.update(YOLO_OFFLINE="1", YOLO_AUTOINSTALL="0", YOLO_VERBOSE="0", ULTRALYTICS_SAFE_LOAD="1")
    os.environ.setdefault("YOLO_CONFIG_DIR", str(models_folder() / "ultralytics"))
    names = ((Image, "open"), (cv2, "imread"), (cv2, "imwrite"), (cv2, "imshow"), (torch, "save"))
    kept = [(owner, name, getattr(owner, name)) for owner, name in names]
    try:
        from ultralytics.nn import tasks
    finally:
        for owner, name, value in kept:
            setattr(owner, name, value)
    return tasks


def letterboxed(pixels: np.ndarray, side: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Return pixels (H,W,3) with the longer side `side`, in the middle of as little grey as the stride asks for.

    Also where they lie in it: left, top, width and height.
    """
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    full = [-(-length // _STRIDE) * _STRIDE for length in (height, width)]
    left, top = (full[1] - width) // 2, (full[0] - height) // 2
    square = np.full((*full, 3), _GREY, np.uint8)
    square[top : top + height, left : left + width] = cv2.resize(
        pixels, (width, height), interpolation=cv2.INTER_LINEAR
    )
    return square, (left, top, width, height)


def decode(said: np.ndarray, placed: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return class indices, scores and boxes, as shares of the picture that lies at `placed`, of `least` or more.

    `said` is (4 + classes, anchors), boxes by centre and size in pixels; or (N, 6), corners, score and class, of
    networks that suppress by themselves.
    """
    if said.shape[1] == 6 and said.shape[0] != 6:
        boxes, scores, classes = said[:, :4], said[:, 4], said[:, 5].astype(int)
    else:
        boxes, scores, classes = corners_of(said[:4].T), said[4:].max(axis=0), said[4:].argmax(axis=0)
    left, top, width, height = placed.tolist()
    good = scores >= least
    boxes = (boxes[good] - np.array([left, top, left, top])) / np.array([width, height, width, height])
    return classes[good], scores[good], boxes
