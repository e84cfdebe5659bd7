"""The records that flow through onegen: what a worker hands an annotator, and what it gets back.

Nothing here does I/O. `Item` goes in; `Annotation` (ok), `Rejected` (filtered) or a raised `SampleError` (failed)
comes out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    # The command line imports this file for its errors, and answers --help before numpy would be there.
    import numpy as np
    import pyarrow as pa

    from onegen.errors import SampleError

Kind = Literal["image", "pair", "identity", "scene"]
Status = Literal["ok", "skipped", "filtered", "failed"]
STATUSES: tuple[Status, ...] = ("ok", "skipped", "filtered", "failed")

IMAGE, SELECT = "image", "select"
"""The two columns every dataset has: the stored images, and which of them go on."""
PACKED = "shards"
"""Folder of the packed view, and the `column` of its manifests."""

Encoding = Literal["gray8", "gray16", "rgb8", "index", "bytes"]
"""How a part's array becomes bytes: 8-bit PNG of uint8 (H,W); 16-bit PNG of uint16 (H,W); 8-bit PNG of uint8 (H,W,3);
palette PNG of uint8 (H,W) whose values are entity indices; or the bytes as they are."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Which of `count` pictures laid side by side in one file is meant, from the left, `index` from 0.

    The file is cut into equal parts, and `margin` pixels are taken off each side of a part; or the picture is the `box`
    of the upright file, (x0, y0, x1, y1) in pixels, wherever it lies.
    """

    index: int
    count: int
    margin: int = 0
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One image as a source read it: its original bytes, what stands beside it, and the panel of the file it is.

    `uri` names the file of an image of a set; `camera` says where a view of a scene was seen from, as
    `onegen.geometry.cameras.to_record` has it, once what `lens` bends, as `onegen.geometry.lens.to_record` has it, is
    made straight.
    """

    data: bytes
    caption: str | None = None
    licence: str | None = None
    attribution: str | None = None
    panel: Panel | None = None
    uri: str | None = None
    camera: Mapping[str, Any] | None = None
    lens: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SourceItem:
    """What a source read for one plan item: its images in order, and what they are about.

    An edit has the `instruction` that leads from source to target; a subject pair and an identity the name of the
    `subject` that all show. The target comes first. Of a set (an identity, a scene) a SampleError stands for an image
    that cannot be read, so that the others are kept.
    """

    images: "tuple[SourceImage | SampleError, ...]"
    instruction: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """How a stored image came from its original, sizes as (height, width).

    `original` is the size of the picture as its file holds it, `orientation` the EXIF number (1 is upright) by which
    it was turned; then it was resized to `stored`. `onegen.pixels.placement` takes maps, boxes and points the same way.
    """

    original: tuple[int, int]
    stored: tuple[int, int]
    orientation: int = 1


@dataclass(frozen=True, slots=True)
class Brought:
    """What a source says of one image in a column it brings, as it says it.

    `value` is the bytes of a file, or plain data of a JSON file or a table; `place` says where it stands, for messages.
    `placement` is None where the column needs none.
    """

    value: Any
    place: str
    placement: Placement | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """What an annotator sees of one image.

    `key` is the image's own content key, also where it is one of several of a sample; `pixels` the stored image,
    upright RGB uint8 (H,W,3), or None where the annotator sets `needs_pixels = False`; `caption` the caption that came
    with it; `annotations` holds, for each column named in `requires`, what that column says of this image (parts
    decoded back to arrays), and for a column a source brings what the source says. `source` is set for ingest, which
    has no pixels yet. `size` is the (height, width) of the stored image, known also where its pixels are not given;
    None for ingest. `brought` is set for a column that a recipe takes from its source.
    """

    key: str
    pixels: "np.ndarray | None"
    caption: str | None = None
    annotations: Mapping[str, "Annotation"] = field(default_factory=dict)
    source: SourceImage | None = None
    size: tuple[int, int] | None = None
    brought: Brought | None = None


@dataclass(frozen=True, slots=True)
class Annotation:
    """One column's answer for one row: `values` (the fields of `provides`) and `parts` (name to array or bytes)."""

    values: Mapping[str, Any] = field(default_factory=dict)
    parts: "Mapping[str, np.ndarray | bytes]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejected:
    """The row is filtered here, by rule and not by accident; `reason` is a short code (`[a-z0-9_]+`)."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A file a column stores per row: member name after the key (`hed.png`) and how its array is encoded."""

    name: str
    encoding: Encoding = "bytes"


@dataclass(frozen=True, slots=True)
class Provides:
    """What a column stores: `parts` in the tar, typed `fields` in the index. A row may leave any field null."""

    parts: tuple[Part, ...] = ()
    fields: "Mapping[str, pa.DataType]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Weights:
    """Identity of the weights behind a column: `name` (package or repository), `revision`, file `sha256`, `licence`."""

    name: str
    revision: str
    sha256: str
    licence: str


@dataclass(frozen=True, slots=True)
class Resources:
    """What one worker asks for: CPU cores, GPUs (fractions allowed) and memory in bytes (0: not reserved).

    `custom` are what else Ray counts, by name, such as ("accelerator_type:A100", 0.001); other workers ask for none.
    """

    num_cpus: float = 1.0
    num_gpus: float = 0.0
    memory: int = 0
    custom: tuple[tuple[str, float], ...] = ()

    def by_name(self) -> dict[str, float]:
        """Return what is asked for by the names that Ray gives it."""
        named = {"CPU": self.num_cpus, "GPU": self.num_gpus, "memory": float(self.memory), **dict(self.custom)}
        return {name: amount for name, amount in named.items() if amount}

    def __str__(self) -> str:
        memory = [f"{self.memory:,} bytes"] if self.memory else []
        custom = [f"{amount:g} {name}" for name, amount in self.custom]
        return ", ".join([f"{self.num_cpus:g} CPU(s)", f"{self.num_gpus:g} GPU(s)", *memory, *custom])


class ModelHandle(Protocol):
    """Pretrained weights as an annotator holds them: asked whether they are there and what they are, then run."""

    def require(self) -> None:
        """Check cheaply that the weights and their runtime are there. Raises ConfigError naming what brings them."""
        ...

    def identity(self) -> Weights:
        """Return what manifests record of the weights; needs no file on disk."""
        ...

    def session(self) -> Any:
        """Return the model ready to run, loaded once per process. Raises ConfigError for a missing or damaged file."""
        ...


@runtime_checkable
class Annotator(Protocol):
    """The contract of an annotator: a frozen dataclass whose fields are its options. docs/annotators.md.

    `version` is bumped by hand when results change. `tolerance` is empty for an exact annotator (each sample computed
    alone, threads pinned); otherwise it names, per part or field, the largest absolute difference allowed between
    batch sizes. A class whose column's name would say more than it does names its `producer` (ClassVar[str]) otherwise:
    that of `caption` is `composed-caption`.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    tolerance: ClassVar[Mapping[str, float]]
    requires: ClassVar[tuple[str, ...]]
    provides: ClassVar[Provides]
    resources: ClassVar[Resources]
    needs_pixels: ClassVar[bool]

    def weights(self) -> tuple[Weights, ...]:
        """Return the pinned weights this annotator computes with; they are part of the column's fingerprint."""
        ...

    def load(self) -> None:
        """Load the model, once per worker, before the first batch. Raises ConfigError when weights are missing."""
        ...

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return one answer per item, in order. Pure: no I/O, no state. May raise SampleError for the whole call."""
        ...


@runtime_checkable
class InParts(Protocol):
    """What an annotator offers beside `annotate` whose network runs on a device of its own, which shall never wait.

    `prepare` runs ahead on threads, `infer` takes what it gave for a batch, `finish` runs behind on threads. `annotate`
    is the three after one another. docs/annotators.md.
    """

    def prepare(self, item: Item) -> Any:
        """Return what the network takes of one item. May raise SampleError."""
        ...

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return what the network says of each, in order. May raise SampleError for the whole call."""
        ...

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored of an item, given what the network said. May raise SampleError."""
        ...


CHANGES_NO_RESULT = "changes no result"
"""In the metadata of an option's field: it says how, and not what, is computed, and is in no fingerprint."""
CAME_LATER = "came later"
"""In the metadata of an option's field: datasets that were made without it are what its default makes."""


class BaseAnnotator:
    """What most annotators have in common: exact, one core, pixels wanted, no column required.

    A frozen dataclass that inherits it says its options, `name`, `version` and `provides`, which `models` it computes
    with, and how it annotates. That it asks for its models when it is made, names their weights and loads them follows.
    """

    tolerance: ClassVar[Mapping[str, float]] = {}
    requires: ClassVar[tuple[str, ...]] = ()
    resources: ClassVar[Resources] = Resources()
    needs_pixels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.check()
        for model in self.models():
            model.require()

    def check(self) -> None:
        """Raise ConfigError for an option that is out of its range; called when the annotator is made."""

    def models(self) -> tuple[ModelHandle, ...]:
        """Return the models it computes with."""
        return ()

    def weights(self) -> tuple[Weights, ...]:
        """Return the identities of its models, in their order; they are part of the column's fingerprint."""
        return tuple(model.identity() for model in self.models())

    def load(self) -> None:
        """Load its models, once per worker."""
        for model in self.models():
            model.session()
