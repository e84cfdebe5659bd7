"""Faces and who they are, by YuNet (Wu et al., 2023) and an ONNX network of ArcFace's kind (Deng et al., CVPR 2019)."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import cv2
import numpy as np

from onegen.annotators import register
from onegen.annotators.faces import PROVIDES, annotation_of, face
from onegen.annotators.shared.pixels import picture_of, pixels_of
from onegen.errors import ConfigError
from onegen.pixels.sizes import fit
from onegen.sample import CHANGES_NO_RESULT, Annotation, BaseAnnotator, Item, Provides, Rejected, Resources
from onegen.weights.hub import HubModel
from onegen.weights.sessions import failures, session_of

_SIDE = 112
_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where ArcFace's networks expect the eyes, the nose and the corners of the mouth, from the left of the picture."""
_OVERLAP, _MOST = 0.3, 5000
_SILENT = {CHANGES_NO_RESULT: True}


@register("annotators", "faces", backend="arcface")
@dataclass(frozen=True)
class ArcFace(BaseAnnotator):
    """Faces that YuNet finds with `min_score` or more, and the identity that `file` of `model` gives each. Exact.

    Landmarks are the centres of the eyes, the nose and the corners of the mouth. The default, SFace, gives 128 numbers:
    one person's lie at a cosine above 0.363. Other networks of ArcFace's kind want `colours: rgb` and
    `normalise: symmetric`, and many are for research alone. SFace is Apache-2.0, YuNet MIT. On a CPU.
    """

    backend: Literal["arcface"] = "arcface"
    model: str = field(default="opencv/face_recognition_sface", metadata=_SILENT)
    revision: str = field(default="main", metadata=_SILENT)
    sha256: str | None = field(default=None, metadata=_SILENT)
    file: str = "face_recognition_sface_2021dec.onnx"
    colours: Literal["bgr", "rgb"] = "rgb"
    normalise: Literal["none", "symmetric"] = "none"
    detector: str = field(default="opencv/face_detection_yunet", metadata=_SILENT)
    detector_revision: str = field(default="main", metadata=_SILENT)
    detector_file: str = "face_detection_yunet_2023mar.onnx"
    min_score: float = 0.7
    max_side: int = 800

    name: ClassVar[str] = "faces"
    producer: ClassVar[str] = "arcface"
    version: ClassVar[int] = 1
    provides: ClassVar[Provides] = PROVIDES
    resources: ClassVar[Resources] = Resources(memory=1 << 30)
    tolerance: ClassVar[Mapping[str, float]] = {}

    def __post_init__(self) -> None:
        super().__post_init__()
        identity, detector = self.models()
        object.__setattr__(self, "revision", identity.commit())
        object.__setattr__(self, "detector_revision", detector.commit())

    def check(self) -> None:
        """Raise ConfigError for an option out of its range."""
        if not 0.0 < self.min_score < 1.0:
            raise ConfigError(f"min_score of faces must be in (0, 1), got {self.min_score}.")
        if self.max_side < 64:
            raise ConfigError(f"max_side of faces must be at least 64, got {self.max_side}. Try 800.")

    def models(self) -> tuple[HubModel, HubModel]:
        """Return the handles of the identity's network and of the detector."""
        return (
            HubModel(self.model, self.revision, (self.file,), self.sha256),
            HubModel(self.detector, self.detector_revision, (self.detector_file,)),
        )

    def load(self) -> None:
        """Load both networks. Raises ConfigError for files that are none."""
        super().load()
        _networks(self)

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the faces of each item."""
        return [self.finish(item, answer) for item, answer in zip(items, self.infer(list(items)), strict=True)]

    def prepare(self, item: Item) -> Item:
        """Return the item: little is to be prepared."""
        return item

    def infer(self, prepared: Sequence[Item]) -> list[Any]:
        """Return of each item its faces: YuNet's fifteen numbers in pixels of the image, and an identity."""
        return [self._faces(item) for item in prepared]

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored."""
        shape = pixels_of(item).shape
        return annotation_of(
            [
                face(float(found[14]), _box(found), [round(float(v), 1) for v in found[4:14]], identity, shape)
                for found, identity in answer
            ]
        )

    def _faces(self, item: Item) -> list[tuple[np.ndarray, np.ndarray]]:
        detector, identity = _networks(self)
        picture = np.ascontiguousarray(np.asarray(picture_of(item))[:, :, ::-1])
        scale, size = fit(picture.shape, self.max_side)
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if scale < 1 else picture
        detector.setInputSize((small.shape[1], small.shape[0]))
        detector.setScoreThreshold(self.min_score)
        _, found = detector.detect(small)
        if found is None:
            return []
        rows = np.array(found, np.float64)
        height, width = pixels_of(item).shape[:2]
        rows[:, 0:14:2] *= width / small.shape[1]
        rows[:, 1:14:2] *= height / small.shape[0]
        rows = rows[np.lexsort((rows[:, 0], -rows[:, 14]))]
        pixels = pixels_of(item)
        return [(row, self._identity(identity, pixels, row[4:14].reshape(5, 2))) for row in rows]

    def _identity(self, session: Any, pixels: np.ndarray, points: np.ndarray) -> np.ndarray:
        crop = cv2.warpAffine(np.ascontiguousarray(pixels), similarity_to(points, _TEMPLATE), (_SIDE, _SIDE))
        values = (crop if self.colours == "rgb" else crop[:, :, ::-1]).astype(np.float32)
        values = (values - 127.5) / 127.5 if self.normalise == "symmetric" else values
        inputs = {session.get_inputs()[0].name: np.ascontiguousarray(values.transpose(2, 0, 1)[np.newaxis])}
        vector = session.run(None, inputs)[0][0].astype(np.float64)
        unit: np.ndarray = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return unit


def similarity_to(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the (2,3) matrix that turns, scales and shifts points (N,2) nearest to targets, by least squares.

    Points that all lie on one another are only shifted.
    """
    centre, aim = points.mean(axis=0), targets.mean(axis=0)
    across, to = points - centre, targets - aim
    spread = float((across**2).sum())
    if spread <= 0:
        return np.column_stack([np.eye(2), aim - centre])
    along = float((across * to).sum()) / spread
    around = float((across[:, 0] * to[:, 1] - across[:, 1] * to[:, 0]).sum()) / spread
    turn = np.array([[along, -around], [around, along]])
    return np.column_stack([turn, aim - turn @ centre])


def _box(found: np.ndarray) -> list[float]:
    x, y, width, height = (float(value) for value in found[:4])
    return [x, y, x + width, y + height]


@functools.cache
def _networks(annotator: ArcFace) -> tuple[Any, Any]:
    identity, detector = (model.folder() for model in annotator.models())
    broken = (cv2.error, *failures())
    try:
        finder = cv2.FaceDetectorYN.create(
            str(detector / annotator.detector_file), "", (64, 64), annotator.min_score, _OVERLAP, _MOST
        )
        return finder, session_of(identity / annotator.file)
    except broken as error:  # type: ignore[misc]
        said = str(error).strip().partition("\n")[0]
        raise ConfigError(f"models of faces must be ONNX graphs of YuNet and of ArcFace's kind: {said}") from error
