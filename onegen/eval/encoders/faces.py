"""Who is in a picture: the largest face's identity by a backend of column `faces`, and how near two of them are."""

import functools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from onegen.annotators.faces import PROVIDES
from onegen.config.registry import find
from onegen.eval.encoders.clip import identities
from onegen.pixels.boxes import area
from onegen.sample import Annotation, Item

Backend = Literal["embedded", "arcface"]
SAME_PERSON = 0.6
"""Distance of dlib's vectors below which its author takes two faces for one person."""


@dataclass(frozen=True)
class FaceEncoder:
    """A backend of `faces` with its options, as pairs (name, value)."""

    backend: Backend = "embedded"
    options: tuple[tuple[str, str], ...] = ()

    def vector(self, pixels: np.ndarray) -> np.ndarray | None:
        """Return the identity of the largest face in RGB uint8 (H,W,3); None where there is none."""
        (said,) = self.annotator().annotate([Item(key="", pixels=pixels)])
        faces = said.values["faces"] if isinstance(said, Annotation) else []
        if not faces:
            return None
        boxes = np.array([[face[name] for name in ("x0", "y0", "x1", "y1")] for face in faces])
        return np.array(faces[int(area(boxes).argmax())]["identity"])

    def annotator(self) -> Any:
        """Return the annotator; raises ConfigError without its weights."""
        return _annotator(self)

    def identity(self) -> list[dict[str, str]]:
        """Return what a result records of the weights."""
        return identities(self.annotator().weights())


@functools.cache
def _annotator(encoder: FaceEncoder) -> Any:
    options = {"backend": encoder.backend, **dict(encoder.options)}
    cls = find("annotators", "faces", options)
    assert getattr(cls, "provides", PROVIDES) is PROVIDES, "backends of a modality store alike"
    return cls(**options)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Return the cosine of two vectors."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Euclidean distance of two vectors."""
    return float(np.linalg.norm(a - b))
