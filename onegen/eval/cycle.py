"""Our own: does a picture keep to its condition? Drawn from the condition of a sample, then measured by the same means.

Every number stands beside the same one with the condition of another sample: the gap is the result. Needs a dataset of
ours and no further data; conditions are drawn from its columns as for training.

    FOLDER/TASK/KEY.png
"""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from onegen.config.registry import find
from onegen.errors import ConfigError
from onegen.eval.cycle_samples import Sample, name_map, read_samples
from onegen.eval.encoders.clip import identities
from onegen.eval.painter import Painter
from onegen.eval.pictures import read_pixels
from onegen.eval.protocol import Metric, Output, Protocol, Row, Unit, mean, values_of, version_files
from onegen.eval.sampling import Sampling
from onegen.pixels.sizes import round_size
from onegen.sample import Annotation, Annotator, Item
from onegen.tasks.closeness import KEPT, box_recall, kept, mean_difference, mean_iou, pose_similarity, spearman
from onegen.tasks.colours import Entity
from onegen.tasks.prompt import Prompt
from onegen.tasks.table import TASKS

CycleTask = Literal[
    "canny2image",
    "hed2img",
    "depth2image",
    "boundingbox2image",
    "semanticmap2image",
    "pose2image",
    "image_inpainting",
    "super_resolution",
    "deblurring",
]
_MEASURES: Mapping[CycleTask, tuple[str, bool]] = {
    "canny2image": (KEPT["canny"], True),
    "hed2img": ("hed_l1", False),
    "depth2image": ("depth_spearman", True),
    "boundingbox2image": ("box_recall", True),
    "semanticmap2image": ("semantic_iou", True),
    "pose2image": ("pose_oks", True),
    "image_inpainting": (KEPT["masked"], True),
    "super_resolution": (KEPT["low_resolution"], True),
    "deblurring": (KEPT["blurred"], True),
}
"""Name of what is measured of a task, and whether more is better."""


class Cycle(Protocol):
    """How near the condition that is read off a drawn picture lies to the one it was drawn from."""

    tasks: tuple[CycleTask, ...] = Field((), description="which conditions; empty: all that there are columns for")
    samples: int = Field(50, ge=2, description="the first so many samples of the dataset")

    name: ClassVar[str] = "cycle"
    title: ClassVar[str] = "Conditions kept (our own)"
    sampling: ClassVar[Sampling] = Sampling()
    fields: ClassVar[Mapping[str, pa.DataType]] = {
        "task": pa.string(),
        "value": pa.float64(),
        "shuffled": pa.float64(),
        "gap": pa.float64(),
        "picture": pa.string(),
    }
    ranked_by: ClassVar[str] = "gap"

    def units(self) -> Sequence[Unit]:
        """Return (task, sample) pairs."""
        pairs = [(task, sample.key) for task in self._tasks() for sample in self._shown(task)]
        return [Unit(f"{task}/{key}", (f"{task}/{key}.png",)) for task, key in pairs]

    def data_files(self) -> Iterable[Path]:
        """Return the files of the dataset's version."""
        return version_files(self.require_data())

    def metric_models(self) -> list[dict[str, str]]:
        """Return the weights of the annotators that measure."""
        names = [name for task, asked in _ANNOTATORS.items() if task in self._tasks() for name in asked]
        return identities([weight for name in dict.fromkeys(names) for weight in _annotator(name).weights()])

    def draw(self, unit: Unit, painter: Painter) -> Iterator[tuple[str, Output]]:
        """Yield the picture of one condition, of the sample's own shape."""
        task, sample = self._of(unit)
        condition = sample.condition(task)
        prompt: str | Prompt = sample.caption
        if TASKS[task].views[1] in _NAMED:
            colours = {thing["label"]: thing["colour"] for thing in sample.entities()}
            shown = set(np.unique(sample.names())) if task == "semanticmap2image" else set(colours)
            entities = tuple(Entity(name, colour) for name, colour in colours.items() if name in shown)
            prompt = Prompt((task,), (sample.caption,), entities)
        size = round_size(*condition.shape[:2])
        yield unit.outputs[0], painter.images(unit.name, task, prompt, [None, condition], 1, size, crop=False)[0]

    def score(self, unit: Unit, folder: Path) -> list[Row]:
        """Return what a picture has of its condition, and of the next sample's."""
        task, sample = self._of(unit)
        samples = self._shown(task)
        other = samples[(samples.index(sample) + 1) % len(samples)]
        path = self.find(folder, unit.outputs[0])
        assert path is not None, "whoever asks has looked"
        drawn = read_pixels(path)
        value, shuffled = measure(task, drawn, sample), measure(task, drawn, other)
        sign = 1.0 if _MEASURES[task][1] else -1.0
        gap = None if value is None or shuffled is None else sign * (value - shuffled)
        row: Row = {"item": unit.name, "picture": unit.outputs[0], "task": task}
        return [row | {"value": value, "shuffled": shuffled, "gap": gap}]

    def summarise(self, rows: Sequence[Row]) -> list[Metric]:
        """Return of each task the mean, and that with shuffled conditions."""
        metrics = []
        for task, (name, is_higher) in _MEASURES.items():
            of_task = [row for row in rows if row["task"] == task]
            for field, suffix in (("value", ""), ("shuffled", ".shuffled")):
                values = values_of(of_task, field)
                if of_task:
                    metrics.append(
                        Metric(
                            name=f"{name}{suffix}",
                            value=mean(values),
                            count=len(values),
                            exact=False,
                            higher_is_better=is_higher,
                            note=task if not suffix else "with the condition of another sample",
                        )
                    )
        return metrics

    def illustrate(self, row: Row, folder: Path) -> list[tuple[str, Image.Image]]:
        """Return picture, condition and the sample's own photo."""
        (sample,) = (sample for sample in self._samples() if row["unit"].endswith(f"/{sample.key}"))
        condition = Image.fromarray(sample.condition(row["task"]))
        return [
            *super().illustrate(row, folder),
            ("condition", condition),
            ("sample", Image.fromarray(sample.pixels())),
        ]

    def _tasks(self) -> tuple[CycleTask, ...]:
        samples = self._samples()
        able: tuple[CycleTask, ...] = tuple(task for task in _MEASURES if samples[0].has(task))
        lacking = [task for task in self.tasks if task not in able]
        if lacking:
            raise ConfigError(
                f"dataset must have the columns behind {lacking[0]}, and has not. Build them, or leave the task out."
            )
        bare = [task for task in self.tasks if len(self._shown(task)) < 2]
        if bare:
            raise ConfigError(
                f"2 samples or more must show something for {bare[0]}, got {len(self._shown(bare[0]))} of the first "
                f"{len(samples)}. Raise -O samples, or leave the task out."
            )
        return self.tasks or tuple(task for task in able if len(self._shown(task)) > 1)

    def _shown(self, task: CycleTask) -> list[Sample]:
        """Return the samples in whose condition there is something."""
        return _shown(self.require_data(), self.samples, task)

    def _samples(self) -> list[Sample]:
        return read_samples(self.require_data(), self.samples)

    def _of(self, unit: Unit) -> tuple[CycleTask, Sample]:
        task, _, key = unit.name.partition("/")
        (named,) = (known for known in _MEASURES if known == task)
        (sample,) = (sample for sample in self._samples() if sample.key == key)
        return named, sample


@functools.lru_cache(maxsize=32)
def _shown(root: Path, count: int, task: CycleTask) -> list[Sample]:
    return [sample for sample in read_samples(root, count) if sample.shows(task)]


_NAMED = ("boxes", "semantic_map")
"""Conditions whose prompt says which colour is what."""
_ANNOTATORS: Mapping[CycleTask, tuple[str, ...]] = {
    "hed2img": ("hed",),
    "depth2image": ("depth",),
    "boundingbox2image": ("detection",),
    "semanticmap2image": ("detection", "entities", "segmentation"),
    "pose2image": ("detection", "pose"),
}
"""What reads the condition off a picture again, where that is a network: embedded backends, each from those before."""


def measure(task: CycleTask, drawn: np.ndarray, sample: Sample) -> float | None:
    """Return how near the condition in a drawn picture, RGB uint8, is to a sample's; None where it has none.

    The picture is first brought to the sample's size.
    """
    wanted = sample.condition(task)
    size = wanted.shape[1], wanted.shape[0]
    picture = drawn if drawn.shape == wanted.shape else cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)
    match task:
        case "hed2img":
            edges = np.asarray(_read_off(task, picture)["hed"].parts["hed.png"])
            return mean_difference(edges / 255.0, wanted[..., 0] / 255.0)
        case "depth2image":
            depth = np.asarray(_read_off(task, picture)["depth"].parts["depth.png"])
            return spearman(depth, wanted[..., 0])
        case "boundingbox2image":
            objects = _read_off(task, picture)["detection"].values["objects"]
            return box_recall(objects, sample.entities())
        case "semanticmap2image":
            read = _read_off(task, picture)
            return mean_iou(name_map(read["segmentation"], read["entities"]), sample.names())
        case "pose2image":
            return pose_similarity(_read_off(task, picture)["pose"].values["people"], sample.people())
    role = TASKS[task].views[1]
    return kept(role, picture, wanted, sample.pixels(), sample.seed(role))


def _read_off(task: CycleTask, pixels: np.ndarray) -> dict[str, Annotation]:
    """Return what a task's annotators say of a picture, by column."""
    read: dict[str, Annotation] = {}
    for name in _ANNOTATORS[task]:
        (said,) = _annotator(name).annotate([Item(key="", pixels=pixels, annotations=dict(read))])
        assert isinstance(said, Annotation), "these annotators reject nothing"
        read[name] = said
    return read


@functools.cache
def _annotator(name: str) -> Annotator:
    annotator: Annotator = find("annotators", name, {"backend": "embedded"})(backend="embedded")
    return annotator
