"""The contract of an evaluation protocol: what it draws, how it scores what lies in a folder, what the scores mean.

A protocol is a pydantic record whose fields are its options. Its units (a prompt, an object, a photo) are drawn and
scored alone, so that any of them can be done anywhere, again, and in any order.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from onegen.config.parse import Config
from onegen.errors import ConfigError
from onegen.eval.sampling import Sampling
from onegen.shards.takedowns import FOLDER

if TYPE_CHECKING:
    from onegen.eval.painter import Painter

Row = dict[str, Any]
Output = Image.Image | np.ndarray | bytes
"""What is written of a unit: a picture as PNG, an array as .npy, or bytes as they are."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
COMMON: Mapping[str, pa.DataType] = {
    "unit": pa.string(),
    "item": pa.string(),
    "status": pa.string(),
    "reason": pa.string(),
}
"""Fields of every row: the unit, which of its items, `ok` or `failed` or `missing`, and why."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What is drawn and scored in one go: its name, and its files, relative to the folder of pictures."""

    name: str
    outputs: tuple[str, ...]


class Metric(Config):
    """A number of the summary.

    `exact` metrics are the paper's own and stand beside its figures; the others are substitutes under a name of their
    own. `scale` is what the published table multiplies by. None: nothing to take a mean of.
    """

    name: str
    value: float | None
    count: int = Field(description="items behind it")
    exact: bool = True
    scale: float = 1.0
    column: str = Field("", description="of the paper's table, where it has one")
    higher_is_better: bool = True
    note: str = ""


class Protocol(Config):
    """Base of protocols."""

    data: Path | None = Field(None, description="folder of the benchmark's data, in its own layout")

    name: ClassVar[str]
    version: ClassVar[int] = 1
    table: ClassVar[str] = ""
    """Of the paper; empty for our own."""
    title: ClassVar[str]
    sampling: ClassVar[Sampling] = Sampling()
    fields: ClassVar[Mapping[str, pa.DataType]]
    """Columns of a row beside COMMON."""
    ranked_by: ClassVar[str]
    """The column by which items are best or worst."""
    higher_is_better: ClassVar[bool] = True
    unknown: ClassVar[tuple[str, ...]] = ()
    """What the paper does not say."""
    may_have_more: ClassVar[tuple[str, ...]] = ("metadata.jsonl",)
    """Names of files in a folder of pictures that are no pictures of a unit, and no mistake."""

    @property
    def variant(self) -> str:
        """What tells runs of one protocol apart that share no table row, such as `nyuv2`."""
        return ""

    @property
    def label(self) -> str:
        """Name of the protocol and its variant: a folder name."""
        return f"{self.name}-{self.variant}" if self.variant else self.name

    def units(self) -> Sequence[Unit]:
        """Return everything that is drawn and scored, in order; raises ConfigError for data that is not there."""
        raise NotImplementedError

    def data_files(self) -> Iterable[Path]:
        """Return the files of the benchmark's data that scores depend on."""
        return ()

    def data_words(self) -> bytes:
        """Return what the scores depend on beside files."""
        return b""

    def metric_models(self) -> list[dict[str, str]]:
        """Return name, revision, sha256 and licence of the weights that metrics are computed with."""
        return []

    def skipped(self) -> dict[str, str]:
        """Return the metrics that cannot be computed here, each with what to install or fetch."""
        return {}

    def approximations(self) -> list[str]:
        """Return in what the scores are not the benchmark's own."""
        return []

    def lacks(self) -> str:
        """Return in what the data is not the whole benchmark; empty where it is, and ours may stand by the paper's."""
        return ""

    def load(self) -> None:
        """Load what scoring needs, once a worker."""

    def draw(self, unit: Unit, painter: "Painter") -> Iterator[tuple[str, Output]]:
        """Yield the files of a unit, drawn by a model: (name, what is in it)."""
        raise NotImplementedError

    def find(self, folder: Path, output: str) -> Path | None:
        """Return the file of a unit in a folder: under its name, or as a picture of another format."""
        return find_file(folder / output, PICTURES)

    def is_only_pictures(self, folder: Path) -> bool:
        """Say whether a folder holds nothing but files of units, so that any other is a mistake."""
        return True

    def score(self, unit: Unit, folder: Path) -> list[Row]:
        """Return the scores of a unit, a row an item, without `unit` and `status`.

        Raises SampleError for files that cannot be scored.
        """
        raise NotImplementedError

    def summarise(self, rows: Sequence[Row]) -> list[Metric]:
        """Return the metrics of rows that are ok: a fold, whatever their order."""
        raise NotImplementedError

    def illustrate(self, row: Row, folder: Path) -> list[tuple[str, Image.Image]]:
        """Return (caption, picture) of what a row is about."""
        path = self.find(folder, row["picture"]) if row.get("picture") else None
        return [] if path is None else [("", Image.open(path).convert("RGB"))]

    def require_data(self) -> Path:
        """Return the folder of data; raises ConfigError where it is not given or not there."""
        if self.data is None:
            raise ConfigError(f"--data must name the data of {self.name}. docs/evaluation.md says where it comes from.")
        if not self.data.exists():
            raise ConfigError(f"--data must be there, got {self.data}, which is not.")
        return self.data


def version_files(dataset: Path) -> list[Path]:
    """Return the files that say which version of a dataset of ours is there: its card, and what was taken down."""
    return [dataset / "dataset.json", *sorted((dataset / FOLDER).glob("*.parquet"))]


def find_file(path: Path, suffixes: Sequence[str]) -> Path | None:
    """Return a file that is there, under this name or with another of the suffixes; None where there is none."""
    if path.is_file():
        return path
    others = (path.with_suffix(suffix) for suffix in suffixes)
    return next((other for other in others if other.is_file()), None)


def values_of(rows: Iterable[Row], field: str) -> list[float]:
    """Return the numbers of a column, those that are not known left out."""
    return [float(row[field]) for row in rows if row.get(field) is not None]


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, the same whatever the order of the values; None of none."""
    return math.fsum(values) / len(values) if values else None


def mean_of_means(rows: Iterable[Row], field: str, group: str) -> float | None:
    """Return the mean over groups of rows of each group's mean: groups weigh alike."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row[group]), []).append(row)
    means = (mean(values_of(of_group, field)) for of_group in groups.values())
    return mean([value for value in means if value is not None])
