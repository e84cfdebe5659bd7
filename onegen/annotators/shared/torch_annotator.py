"""What annotators with a network in torch have in common: weights of a hub, a device, batches of equal shapes."""

import contextlib
import functools
import pickle
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from onegen.errors import ConfigError
from onegen.sample import (
    CHANGES_NO_RESULT,
    Annotation,
    BaseAnnotator,
    Item,
    ModelHandle,
    Rejected,
    Resources,
)
from onegen.weights.hub import TRANSFORMERS, HubModel
from onegen.weights.runtimes import require_package

if TYPE_CHECKING:
    import torch

_SILENT = {CHANGES_NO_RESULT: True}


@dataclass(frozen=True)
class TorchAnnotator(BaseAnnotator):
    """Base of annotators that run a network of torch; a subclass says how it is built, fed and read.

    `model` is a repository of the hub or a folder, `revision` a branch or commit of it, `sha256` what its weights must
    have; the column's fingerprint has the commit and the hash, whatever the revision is called. `device` is `auto` (a
    GPU where there is one), `cuda` or `cpu`. `dtype` is what weights and arithmetic have. `compile` compiles the
    network, `attention` names a backend of transformers: neither changes a result beyond the tolerance.
    """

    model: str = field(default="", metadata=_SILENT)
    revision: str = field(default="main", metadata=_SILENT)
    sha256: str | None = field(default=None, metadata=_SILENT)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = field(default="auto", metadata=_SILENT)
    compile: bool = field(default=False, metadata=_SILENT)
    attention: Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3"] | None = field(
        default=None, metadata=_SILENT
    )

    name: ClassVar[str]
    resources: ClassVar[Resources] = Resources(num_gpus=1, memory=4 << 30)
    files: ClassVar[tuple[str, ...]] = TRANSFORMERS
    packages: ClassVar[Mapping[str, str]] = {"transformers": "transformers"}
    """Modules that build the network, and the packages that hold them."""
    extra: ClassVar[str] = "hub"

    def __post_init__(self) -> None:
        for module, package in {"torch": "torch", **self.packages}.items():
            require_package(module, package, self.extra)
        if not self.model:
            raise ConfigError(f"model of {self.name} must name a repository of the hub or a folder.")
        super().__post_init__()
        # Workers, on other machines too, take the commit that was pinned here, and ask for no branch.
        object.__setattr__(self, "revision", self.hub_model().commit())

    def hub_model(self) -> HubModel:
        """Return the handle of its weights."""
        return HubModel(self.model, self.revision, self.files, self.sha256, self.extra)

    def models(self) -> tuple[ModelHandle, ...]:
        """Return the handle of its weights; a subclass with several networks adds theirs."""
        return (self.hub_model(),)

    def load(self) -> None:
        """Fetch what is missing, build the network and put it on its device. Raises ConfigError."""
        super().load()
        self.network()

    def network(self) -> Any:
        """Return what `build` made, once per process."""
        return _built(self)

    def build(self, folder: Path) -> Any:
        """Return the network and what feeds it, loaded from a folder: what `prepare`, `infer` and `finish` use."""
        raise NotImplementedError

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return one answer per item: prepared, inferred and finished."""
        answers = self.infer([self.prepare(item) for item in items])
        return [self.finish(item, answer) for item, answer in zip(items, answers, strict=True)]

    def prepare(self, item: Item) -> Any:
        """Return what the network takes of one item."""
        raise NotImplementedError

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return what the network says of each."""
        raise NotImplementedError

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored of an item."""
        raise NotImplementedError

    def torch_dtype(self) -> "torch.dtype":
        """Return `dtype` as torch has it."""
        import torch

        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype

    def torch_device(self) -> "torch.device":
        """Return the device it runs on; raises ConfigError where there is none of that name."""
        import torch

        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(name)
        except RuntimeError as error:
            raise ConfigError(f"device of {self.name} must be auto, cuda, cuda:N or cpu, got {name!r}.") from error
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ConfigError(f"device of {self.name} must be there, got {name!r} and no GPU. Say device: cpu.")
        return device

    def from_folder(self, cls: Any, folder: Path, **options: Any) -> Any:
        """Return a model of one of transformers' classes from a folder, ready to run; raises ConfigError.

        A network of another architecture, whose weights would be left at random, is refused.
        """
        if self.attention is not None:
            options["attn_implementation"] = self.attention
        options |= {"dtype": self.torch_dtype(), "output_loading_info": True}
        with self.loading(cls.__name__):
            model, info = cls.from_pretrained(folder, local_files_only=True, **options)
        missing = sorted(info["missing_keys"])
        if missing or info.get("mismatched_keys"):
            raise ConfigError(
                f"model {self.model} must have every weight of {type(model).__name__}, and lacks {len(missing)}, such "
                f"as {missing[:1] or info['mismatched_keys']}. It is of another architecture, or not whole."
            )
        return self.ready(model)

    def from_file(self, module: Any, path: Path) -> Any:
        """Return a network with the weights of a file of torch, ready to run; raises ConfigError where they do not fit.

        Nothing of the file is run: it may hold tensors alone.
        """
        import torch

        with self.loading(type(module).__name__):
            module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return self.ready(module)

    def processor(self, cls: Any, folder: Path, **options: Any) -> Any:
        """Return a processor of one of transformers' classes from a folder; raises ConfigError."""
        with self.loading(cls.__name__):
            return cls.from_pretrained(folder, local_files_only=True, **options)

    @contextlib.contextmanager
    def loading(self, loader: str) -> Iterator[None]:
        """Turn what a loader raises for files that it cannot use into ConfigError, and keep it quiet."""
        from safetensors import SafetensorError

        try:
            with _quiet():
                yield
        except (
            SafetensorError,
            pickle.UnpicklingError,
            EOFError,
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RuntimeError,
            ImportError,
        ) as error:
            said = str(error).strip().partition("\n")[0]
            raise ConfigError(f"model {self.model} of {self.name} must be one that {loader} loads: {said}") from error

    def ready(self, module: Any) -> Any:
        """Return a network on its device, in its dtype, for inference alone; compiled where it is asked for."""
        import torch

        module = module.to(device=self.torch_device(), dtype=self.torch_dtype()).eval().requires_grad_(False)
        return torch.compile(module) if self.compile else module


@functools.cache
def _built(annotator: TorchAnnotator) -> Any:
    return annotator.build(annotator.hub_model().folder())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars and load reports of transformers off the live table."""
    from transformers.utils import logging

    level, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if had_bars:
            logging.enable_progress_bar()


def by_shape(prepared: Sequence[Mapping[str, Any]]) -> Iterator[list[int]]:
    """Yield which of prepared inputs, tensors by name, have equal shapes and may share a batch."""
    groups: dict[Hashable, list[int]] = {}
    for index, inputs in enumerate(prepared):
        groups.setdefault(tuple((name, tuple(value.shape)) for name, value in inputs.items()), []).append(index)
    yield from groups.values()


def batch_of(prepared: Sequence[Mapping[str, Any]], module: Any) -> dict[str, "torch.Tensor"]:
    """Return inputs of equal shapes as one batch where a network is: floats in its dtype, what counts as it is."""
    import torch

    weight = next(module.parameters())
    device, dtype = weight.device, weight.dtype
    batch = {name: torch.stack([inputs[name] for inputs in prepared]) for name in prepared[0]}
    if device.type == "cuda":
        batch = {name: value.pin_memory() for name, value in batch.items()}
    return {
        name: value.to(device, dtype if value.is_floating_point() else None, non_blocking=True)
        for name, value in batch.items()
    }


def gathered(prepared: Sequence[Mapping[str, Any]], module: Any, run: Any) -> list[Any]:
    """Return what `run(batch, indices)`, one answer an input, says of prepared inputs, each shape a batch."""
    import torch

    answers: list[Any] = [None] * len(prepared)
    with torch.inference_mode():
        for indices in by_shape(prepared):
            batch = batch_of([prepared[index] for index in indices], module)
            for index, answer in zip(indices, run(batch, indices), strict=True):
                answers[index] = answer
    return answers
