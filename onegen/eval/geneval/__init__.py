"""Table 1: GenEval (Ghosh et al., NeurIPS 2023). Does the picture show what its prompt asks for?

FOLDER/00000/metadata.jsonl         that prompt's line
FOLDER/00000/samples/0000.png ...   four pictures of it
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from onegen.eval.encoders.clip import LARGE, ClipEncoder
from onegen.eval.encoders.named import is_called
from onegen.eval.geneval.colours import VERSION as COLOUR_RULE
from onegen.eval.geneval.detectors import build, colours_of, detect, detector_weights
from onegen.eval.geneval.mask2former import Mask2Former
from onegen.eval.geneval.prompts import TASKS, prompt_file, prompts
from onegen.eval.geneval.rules import Colours, Thing, judge, kept
from onegen.eval.painter import Painter
from onegen.eval.pictures import read_pixels
from onegen.eval.protocol import Metric, Output, Protocol, Row, Unit, mean, values_of
from onegen.eval.sampling import Sampling

_COLUMNS = {
    "single_object": "single",
    "two_object": "two",
    "counting": "counting",
    "colors": "colours",
    "position": "position",
    "color_attr": "attribution",
}


class GenEval(Protocol):
    """Share of pictures that show what their prompt asks for, by six tasks."""

    images: int = Field(4, ge=1, le=1000, description="pictures a prompt")
    prompts: int = Field(0, ge=0, description="only the first so many prompts of each task; 0: all")
    detector: str = Field("embedded", description="mask2former (the paper's), or a backend of column detection")
    detector_model: str = Field("", description="repository or folder of the detector; empty: its default")
    colours: Literal["rule", "clip"] = Field("rule", description="clip (the paper's) or our rule on pixels")
    clip_model: str = Field(LARGE, description="repository or folder of the CLIP that tells colours")
    threshold: float | None = Field(None, gt=0, lt=1, description="score of a detection; the paper: 0.3")
    counting_threshold: float | None = Field(None, gt=0, lt=1, description="when counting; mask2former: 0.9, else 0.4")

    name: ClassVar[str] = "geneval"
    table: ClassVar[str] = "1"
    title: ClassVar[str] = "Text to image: GenEval"
    sampling: ClassVar[Sampling] = Sampling(steps=100, guidance=5.0, height=1024, width=1024)
    fields: ClassVar[Mapping[str, pa.DataType]] = {
        "tag": pa.string(),
        "prompt": pa.string(),
        "metadata": pa.string(),
        "correct": pa.bool_(),
        "why": pa.string(),
        "picture": pa.string(),
        "details": pa.string(),
    }
    ranked_by: ClassVar[str] = "correct"
    unknown: ClassVar[tuple[str, ...]] = ("negative prompt and prompt prefix of the paper's run",)

    @property
    def is_exact(self) -> bool:
        """Whether this is the benchmark itself: its detector, its colours, its thresholds and all its prompts."""
        own = self.detector == "mask2former" and self.colours == "clip" and self.prompts == 0
        own = own and is_called(self.detector_model or Mask2Former.model, Mask2Former.model)
        own = own and is_called(self.clip_model, LARGE)
        return own and self.threshold in (None, 0.3) and self.counting_threshold in (None, 0.9) and self.images == 4

    def units(self) -> Sequence[Unit]:
        """Return the prompts by their line's number."""
        places: dict[str, int] = dict.fromkeys(TASKS, 0)
        units = []
        for number, record in enumerate(prompts()):
            places[record["tag"]] += 1
            if not self.prompts or places[record["tag"]] <= self.prompts:
                outputs = tuple(f"{number:05d}/samples/{index:04d}.png" for index in range(self.images))
                units.append(Unit(f"{number:05d}", outputs))
        return units

    def data_words(self) -> bytes:
        """Return the prompt file."""
        return prompt_file()

    def metric_models(self) -> list[dict[str, str]]:
        """Return the detector's weights, and CLIP's or the version of the rule."""
        colour = [{"name": "colour_rule", "revision": str(COLOUR_RULE), "sha256": "", "licence": ""}]
        if self.colours == "clip":
            colour = ClipEncoder(self.clip_model).identity()
        return detector_weights(self.detector, self.detector_model) + colour

    def approximations(self) -> list[str]:
        """Return what is not the benchmark's own."""
        if self.is_exact:
            return ["Mask2Former converted for transformers, not OpenMMLab's file"]
        low, high = self._thresholds()
        return [f"detector {self.detector}, colours by {self.colours}, scores above {low:g}, counting {high:g}"]

    def load(self) -> None:
        """Load the detector, and CLIP."""
        build(self.detector, self.detector_model).load()
        if self.colours == "clip":
            ClipEncoder(self.clip_model).annotator.load()

    def draw(self, unit: Unit, painter: Painter) -> Iterator[tuple[str, Output]]:
        """Yield the prompt's line and its pictures."""
        record = prompts()[int(unit.name)]
        yield f"{unit.name}/metadata.jsonl", f"{json.dumps(record)}\n".encode()
        images = painter.images(unit.name, "text2image", record["prompt"], count=self.images)
        yield from zip(unit.outputs, images, strict=True)

    def score(self, unit: Unit, folder: Path) -> list[Row]:
        """Return a verdict a picture."""
        rows: list[Row] = []
        for output in unit.outputs:
            path = self.find(folder, output)
            assert path is not None, "whoever asks has looked"
            pixels = read_pixels(path)
            colours = colours_of(pixels, self.clip_model if self.colours == "clip" else "")
            rows.append(self.row(unit, output, detect(self.detector, self.detector_model, pixels), colours))
        return rows

    def row(self, unit: Unit, output: str, things: Sequence[Thing], colours: Colours) -> Row:
        """Return the row of a picture, given what is in it."""
        record = prompts()[int(unit.name)]
        low, high = self._thresholds()
        seen = kept(things, high if record["tag"] == "counting" else low)
        verdict = judge(record, seen, colours)
        boxes = {name: [[*map(float, t.box), round(t.score, 4)] for t in of] for name, of in seen.items()}
        return {
            "item": output,
            "tag": record["tag"],
            "prompt": record["prompt"],
            "metadata": json.dumps(record),
            "correct": verdict.is_correct,
            "why": verdict.reason,
            "picture": output,
            "details": json.dumps(boxes),
        }

    def summarise(self, rows: Sequence[Row]) -> list[Metric]:
        """Return the six tasks, their mean, and the shares of pictures and of prompts with any right picture."""
        prefix = "geneval" if self.is_exact else "geneval_lite"
        by_task = {task: values_of((row for row in rows if row["tag"] == task), "correct") for task in TASKS}
        metrics = [
            Metric(
                name=f"{prefix}.{task}",
                value=mean(values),
                count=len(values),
                exact=self.is_exact,
                column=_COLUMNS[task],
            )
            for task, values in by_task.items()
        ]
        shares = [metric.value for metric in metrics]
        known = [share for share in shares if share is not None]
        overall = mean(known) if len(known) == len(TASKS) else None
        right = values_of(rows, "correct")
        any_right: dict[str, float] = {}
        for row in rows:
            any_right[row["unit"]] = max(any_right.get(row["unit"], 0.0), float(row["correct"]))
        return [
            Metric(name=f"{prefix}.overall", value=overall, count=len(rows), exact=self.is_exact, column="overall"),
            *metrics,
            Metric(name=f"{prefix}.pictures", value=mean(right), count=len(right), exact=self.is_exact),
            Metric(
                name=f"{prefix}.prompts",
                value=mean(list(any_right.values())),
                count=len(any_right),
                exact=self.is_exact,
                note="with any right picture",
            ),
        ]

    def _thresholds(self) -> tuple[float, float]:
        counting = 0.9 if self.detector == "mask2former" else 0.4
        return self.threshold or 0.3, self.counting_threshold or counting
