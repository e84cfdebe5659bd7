"""Faces and who they are: detection, five landmarks and a 128-number identity vector, by dlib (King, JMLR 2009)."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import cv2
import numpy as np

from onegen.annotators import register
from onegen.annotators.faces import PROVIDES, annotation_of, face
from onegen.annotators.shared.pixels import pixels_of
from onegen.errors import ConfigError
from onegen.pixels.boxes import Box
from onegen.pixels.sizes import fit
from onegen.sample import Annotation, BaseAnnotator, Item, ModelHandle, Provides, Rejected, Resources
from onegen.weights.sessions import DlibModel

_PACKAGE = "face-recognition-models"
DETECTOR = DlibModel(_PACKAGE, "mmod_human_face_detector.dat", "cnn_face_detection_model_v1")
LANDMARKS = DlibModel(_PACKAGE, "shape_predictor_5_face_landmarks.dat", "shape_predictor")
IDENTITY = DlibModel(_PACKAGE, "dlib_face_recognition_resnet_model_v1.dat", "face_recognition_model_v1")
_SMALLEST_SIDE = 20  # of an image in pixels: dlib's detectors fail on less than a face


@register("annotators", "faces", backend="embedded")
@dataclass(frozen=True)
class Faces(BaseAnnotator):
    """Faces, best first; an identity is 128 numbers. Exact.

    Two identities nearer than 0.6 (Euclidean) are taken for one person: photos of one man lie 0.2 to 0.45 apart, of
    different people above 0.6. `hog` finds frontal faces from 40 px of the image at `max_side`, 0.3 s; `cnn` finds
    large faces in profile too, from 80 px, and takes 5 to 15 s. `min_score` is in the detector's own units: 0.3 of
    `hog` leaves out what looks like a face on a badge.
    """

    backend: Literal["embedded"] = "embedded"
    detector: Literal["hog", "cnn"] = "hog"
    max_side: int = 800
    min_score: float = 0.3

    name: ClassVar[str] = "faces"
    version: ClassVar[int] = 1
    provides: ClassVar[Provides] = PROVIDES
    resources: ClassVar[Resources] = Resources(memory=1 << 30)

    def check(self) -> None:
        """Raise ConfigError for a `max_side` below 64."""
        if self.max_side < 64:
            raise ConfigError(f"max_side of faces must be at least 64, got {self.max_side}. Try 800.")

    def models(self) -> tuple[ModelHandle, ...]:
        """Return the networks; the `hog` detector is part of dlib, and has no file."""
        return (LANDMARKS, IDENTITY, DETECTOR) if self.detector == "cnn" else (LANDMARKS, IDENTITY)

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the faces of each item."""
        return [annotation_of(self._faces(pixels_of(item))) for item in items]

    def _faces(self, pixels: np.ndarray) -> list[dict[str, Any]]:
        if min(pixels.shape[:2]) < _SMALLEST_SIDE:
            return []
        scale, size = fit(pixels.shape, self.max_side, least=_SMALLEST_SIDE)
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1.0 else pixels.copy()
        faces = [(score, box) for score, box in _find(small, self.detector) if score >= self.min_score]
        faces.sort(key=lambda scored: (-scored[0], scored[1]))
        return [_described(pixels, score, tuple(value / scale for value in box)) for score, box in faces]


def _find(pixels: np.ndarray, detector: Literal["hog", "cnn"]) -> list[tuple[float, Box]]:
    """Return (score, (x0, y0, x1, y1)) of the faces in an image."""
    if detector == "hog":
        boxes, scores, _ = _hog().run(pixels, 1, 0.0)  # once enlarged to twice its size
    else:
        detections = DETECTOR.session()(pixels, 0)
        boxes, scores = [seen.rect for seen in detections], [seen.confidence for seen in detections]
    return [
        (float(score), (box.left(), box.top(), box.right() + 1, box.bottom() + 1))
        for box, score in zip(boxes, scores, strict=True)
    ]


def _described(pixels: np.ndarray, score: float, box: Sequence[float]) -> dict[str, Any]:
    """Return one face; landmarks and identity are taken from the image at its own size."""
    import dlib

    picture = np.ascontiguousarray(pixels).copy()  # dlib takes writable arrays only
    shape = LANDMARKS.session()(picture, dlib.rectangle(*(round(value) for value in box)))
    vector = IDENTITY.session().compute_face_descriptor(picture, shape)
    landmarks = [value for point in shape.parts() for value in (point.x, point.y)]
    return face(score, box, landmarks, vector, pixels.shape)


@functools.cache
def _hog() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()
