"""Table 3: identity, by the protocol of PuLID (arXiv 2404.16022, section 7.4) on 50 portraits.

    IDS/name.jpg or IDS/name/*.jpg   one or more portraits of a person
    FOLDER/name/id-0.png ...         pictures for ID: one prompt, four of them
    FOLDER/name/07-0.png ...         pictures for CLIP-T: of each prompt four

PuLID's words are PuLID's: bring them as a file of one prompt a line, the first that of ID. Ours are in its categories.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from onegen.errors import ConfigError
from onegen.eval.encoders.clip import BASE, LARGE, ClipEncoder
from onegen.eval.encoders.faces import SAME_PERSON, FaceEncoder, cosine, distance
from onegen.eval.encoders.named import is_called
from onegen.eval.painter import Painter
from onegen.eval.pictures import read_picture, read_pixels
from onegen.eval.protocol import PICTURES, Metric, Output, Protocol, Row, Unit, mean, values_of
from onegen.eval.sampling import Sampling
from onegen.tasks.prompt import Prompt
from onegen.tasks.table import MAX_REFERENCES

OWN_PROMPTS = (
    "a colour photograph of a person in a garden, head and shoulders, cinematic soft light, every detail sharp",
    "a person who wears a thick woollen jumper",
    "a person with round glasses",
    "a person with headphones around the neck",
    "a person under a straw hat",
    "a person with a red scarf",
    "a person who plays the cello",
    "a person who rides a bicycle",
    "a person with grey hair",
    "a person as a child",
    "a person seen from the side",
    "a person on a snowy mountain",
    "a pencil drawing of a person",
    "an oil painting of a person",
    "a person as a marble bust",
    "a comic strip of a person",
    "an astronaut who looks back at the earth through a window of a station",
    "a cook in a busy kitchen who tastes a soup while steam rises",
    "a knight in silver armour at the edge of a dark forest at dusk",
    "a scientist in a laboratory who holds up a green flask to the light",
    "a violinist on a small stage who bows to a full hall",
)
"""The portrait for ID, then twenty for CLIP-T: clothing 1, accessory 4, action 2, attribute 2, view 1, place 1, style
4, complex 5."""


class Identity(Protocol):
    """Likeness of faces, and whether the pictures are of their prompts."""

    images: int = Field(4, ge=1, description="pictures a prompt")
    prompts: Path | None = Field(None, description="PuLID's: a prompt a line, the first that of ID; else ours")
    clip_prompts: bool = Field(True, description="draw and score the prompts of CLIP-T too")
    faces: Literal["embedded", "arcface"] = Field("embedded", description="embedded (dlib) or arcface (its kind)")
    faces_model: str = Field("", description="arcface: repository or folder, such as of CurricularFace as ONNX")
    faces_file: str = Field("", description="arcface: the network's file in it")
    is_curricularface: bool = Field(False, description="faces_model is CurricularFace's IR-101, as in the paper")
    clip_model: str = Field("", description=f"repository or folder for CLIP-T, such as {LARGE}; empty: left out")

    name: ClassVar[str] = "identity"
    table: ClassVar[str] = "3"
    title: ClassVar[str] = "Identity (Unsplash-50)"
    sampling: ClassVar[Sampling] = Sampling(steps=75)
    fields: ClassVar[Mapping[str, pa.DataType]] = {
        "prompt": pa.string(),
        "is_id": pa.bool_(),
        "has_face": pa.bool_(),
        "cosine": pa.float64(),
        "distance": pa.float64(),
        "clip_t": pa.float64(),
        "picture": pa.string(),
    }
    ranked_by: ClassVar[str] = "cosine"
    unknown: ClassVar[tuple[str, ...]] = (
        "which 50 portraits of Unsplash, and how the paper wrapped PuLID's prompts (captions of 30 to 75 words)",
        "which CLIP the paper used",
        "what PuLID does with a picture without a face: here it counts as cosine 0, distance 1, and the rate is said",
    )

    def units(self) -> Sequence[Unit]:
        """Return the persons."""
        indices = range(self.images)
        names = ["id", *(f"{number:02d}" for number in range(1, len(_prompts(self))))]
        wanted = names if self.clip_prompts else names[:1]
        return [
            Unit(person, tuple(f"{person}/{name}-{index}.png" for name in wanted for index in indices))
            for person in _people(self.require_data())
        ]

    def data_files(self) -> Iterable[Path]:
        """Return the portraits."""
        return [path for paths in _people(self.require_data()).values() for path in paths]

    def data_words(self) -> bytes:
        """Return the prompts."""
        return "\n".join(_prompts(self)).encode()

    def metric_models(self) -> list[dict[str, str]]:
        """Return the face network's weights, and CLIP's."""
        clip = ClipEncoder(self.clip_model).identity() if self.clip_model else []
        return self._encoder().identity() + clip

    def skipped(self) -> dict[str, str]:
        """Return CLIP-T where no CLIP is named."""
        if self.clip_model or not self.clip_prompts:
            return {}
        return {"clip_t": f"needs CLIP: pip install 'onegen[hub]' and -O clip_model={LARGE} (or a folder of it)"}

    def approximations(self) -> list[str]:
        """Return what is not PuLID's own."""
        own = [] if self.prompts else ["prompts of our own in PuLID's categories; bring PuLID's with -O prompts=FILE"]
        if self.faces == "embedded":
            own.append("faces by dlib, not CurricularFace: distances, not ID")
        elif not self.is_curricularface:
            own.append(f"faces by {self.faces_model or 'SFace'}, not CurricularFace")
        if self.clip_model and not self._is_openais():
            own.append(f"CLIP is neither {LARGE} nor {BASE}")
        return own

    def lacks(self) -> str:
        """Return how many persons and pictures there are, where the protocol has other numbers."""
        count = len(_people(self.require_data()))
        if (count, self.images) == (50, 4):
            return ""
        return f"{count} persons, {self.images} pictures a prompt; the protocol has 50 (Unsplash-50), 4"

    def load(self) -> None:
        """Load the face network, and CLIP."""
        self._encoder().annotator().load()
        if self.clip_model:
            ClipEncoder(self.clip_model).annotator.load()

    def draw(self, unit: Unit, painter: Painter) -> Iterator[tuple[str, Output]]:
        """Yield the pictures of a person from up to four portraits; captions of portraits are left empty."""
        paths = _people(self.require_data())[unit.name][:MAX_REFERENCES]
        references = [read_picture(path) for path in paths]
        prompts = _prompts(self) if self.clip_prompts else _prompts(self)[:1]
        for number, text in enumerate(prompts):
            outputs = unit.outputs[number * self.images : (number + 1) * self.images]
            prompt = Prompt(("faceid",), (text, *[""] * len(references)))
            key = f"{unit.name}/{number}"
            pictures = painter.images(key, "faceid", prompt, [None, *references], self.images)
            yield from zip(outputs, pictures, strict=True)

    def score(self, unit: Unit, folder: Path) -> list[Row]:
        """Return a row a picture: likeness of those for ID, nearness to the prompt of the others."""
        reference = self._reference(unit.name)
        rows: list[Row] = []
        for output in unit.outputs:
            path = self.find(folder, output)
            assert path is not None, "whoever asks has looked"
            tag = Path(output).stem.rpartition("-")[0]
            text = _prompts(self)[0 if tag == "id" else int(tag)]
            row: Row = {"item": output, "picture": output, "prompt": text, "is_id": tag == "id"}
            if tag == "id":
                row |= likeness(reference, self._encoder().vector(read_pixels(path)))
            elif self.clip_model:
                row["clip_t"] = clip_t(ClipEncoder(self.clip_model), read_picture(path), text)
            else:
                read_pixels(path)  # one that is truncated is named now, and not when CLIP is there
            rows.append(row)
        return rows

    def summarise(self, rows: Sequence[Row]) -> list[Metric]:
        """Return means over pictures."""
        faces = [row for row in rows if row["is_id"]]
        rate = mean(values_of(faces, "has_face"))
        is_exact = self.faces == "arcface" and self.is_curricularface and self.prompts is not None
        clip = Metric(
            name="clip_t",
            value=mean(values_of(rows, "clip_t")),
            count=len(values_of(rows, "clip_t")),
            exact=self.prompts is not None and self._is_openais(),
            column="CLIP-T",
        )
        found = Metric(name="faces_found", value=rate, count=len(faces), exact=False, note="share of pictures")
        distances = values_of(faces, "distance")
        if self.faces == "embedded":
            near = [float(value < SAME_PERSON) for value in distances]
            return [
                Metric(
                    name="dlib_distance",
                    value=mean(distances),
                    count=len(faces),
                    exact=False,
                    higher_is_better=False,
                    note="0.2 to 0.45 between photos of one person",
                ),
                Metric(name="dlib_same_person", value=mean(near), count=len(faces), exact=False, note="distance < 0.6"),
                found,
                clip,
            ]
        name = "ID" if is_exact else "face_cosine"
        value = mean(values_of(faces, "cosine"))
        return [Metric(name=name, value=value, count=len(faces), exact=is_exact, column="ID"), found, clip]

    def illustrate(self, row: Row, folder: Path) -> list[tuple[str, Image.Image]]:
        """Return the picture and a portrait."""
        portrait = _people(self.require_data())[row["unit"]][0]
        return [*super().illustrate(row, folder), ("portrait", read_picture(portrait))]

    def _is_openais(self) -> bool:
        """Whether CLIP is one of the two that the paper's figures may be of."""
        return any(is_called(self.clip_model, name) for name in (LARGE, BASE))

    def _encoder(self) -> FaceEncoder:
        named = {"model": self.faces_model, "file": self.faces_file} if self.faces == "arcface" else {}
        return FaceEncoder(self.faces, tuple((name, value) for name, value in named.items() if value))

    def _reference(self, person: str) -> np.ndarray:
        """Return the identity in the first portrait that has a face; raises ConfigError for none."""
        for path in _people(self.require_data())[person]:
            vector = self._encoder().vector(read_pixels(path))
            if vector is not None:
                return vector
        raise ConfigError(f"portrait must show a face, and none is found in those of {person!r}. Leave them out.")


def likeness(reference: np.ndarray, vector: np.ndarray | None) -> Row:
    """Return cosine and distance of two identities; without a face 0 and 1, as nobody is anybody."""
    if vector is None:
        return {"has_face": False, "cosine": 0.0, "distance": 1.0}
    return {"has_face": True, "cosine": cosine(reference, vector), "distance": distance(reference, vector)}


def clip_t(encoder: ClipEncoder, picture: Image.Image, text: str) -> float:
    """Return 100 times the cosine of a picture and a text."""
    return 100.0 * float(encoder.images([picture])[0] @ encoder.texts([text])[0])


@functools.lru_cache(maxsize=8)
def _prompts(protocol: Identity) -> tuple[str, ...]:
    """Return the prompts, that of ID first; raises ConfigError for a file without any."""
    if protocol.prompts is None:
        return OWN_PROMPTS
    try:
        lines = protocol.prompts.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"prompts must be a text file, got {protocol.prompts}: {error}") from error
    prompts = tuple(line.strip() for line in lines if line.strip())
    if not prompts:
        raise ConfigError(f"prompts must be a prompt a line, got none in {protocol.prompts}.")
    return prompts


@functools.lru_cache(maxsize=8)
def _people(root: Path) -> dict[str, tuple[Path, ...]]:
    """Return the portraits of each person by name, sorted; raises ConfigError for none."""
    people: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in PICTURES and path.is_file() and len(path.relative_to(root).parts) <= 2:
            name = path.stem if path.parent == root else path.parent.name
            people.setdefault(name, []).append(path)
    if not people:
        raise ConfigError(f"--data must hold portraits, name.jpg or name/*.jpg, got {root} without any.")
    return {name: tuple(paths) for name, paths in people.items()}
