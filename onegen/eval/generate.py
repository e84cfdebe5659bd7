"""The first step: a model draws what a protocol asks for into a folder of pictures. Killed, it goes on where it was.

results/PROTOCOL/NAME/generation.json   how they are drawn, fixed by the first run
results/PROTOCOL/NAME/pictures/...      in the benchmark's own layout
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from onegen.errors import ConfigError
from onegen.eval.crew import CHUNK, IN_PROCESS, WHOLE, Crew, Part, finished, run_chunks, started
from onegen.eval.painter import Painter, load_painter, model_hash
from onegen.eval.protocol import Output, Protocol, Unit
from onegen.eval.records import (
    DRAWINGS,
    GENERATION,
    Generation,
    Model,
    check_same,
    data_digest,
    options_of,
    read_generation,
    write_record,
)
from onegen.eval.sampling import Sampling
from onegen.executor.contract import Finished, RowsStarted, Task
from onegen.storage import open_store
from onegen.storage.store import Store
from onegen.storage.whole import whole

THE_PROTOCOLS = Sampling()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What is asked of the model: which, how, from which seed, where it runs."""

    model: str
    sampling: Sampling = THE_PROTOCOLS
    seed: int = 0
    dtype: str = "float32"
    device: str = "cpu"


@dataclass
class GenerateJob:
    """Draw chunks of units; the painter is loaded by the worker."""

    protocol: Protocol
    units: tuple[Unit, ...]
    drawing: Drawing
    sampling: Sampling
    folder: Path
    painter: Painter | None = None

    @property
    def store(self) -> Store:
        """Where the pictures lie."""
        return open_store(self.folder)

    def load(self) -> None:
        """Load the model."""
        drawing = self.drawing
        self.painter = load_painter(
            drawing.model,
            drawing.dtype,
            drawing.device,
            self.sampling,
            drawing.seed,
            self.protocol.name,
            self.protocol.version,
        )

    def perform(self, task: Task) -> Iterator[RowsStarted | Finished]:
        """Draw the units of a chunk that are not there; what ended a worker twice is left out."""
        (column,) = task.columns
        assert self.painter is not None, "a worker loads before it performs"
        for position, unit in enumerate(_chunk(self.units, task.shard)):
            if (column, position) in task.blamed or is_drawn(self.protocol, unit, self.folder):
                continue
            yield started(column, task.shard, position)
            for name, output in self.protocol.draw(unit, self.painter):
                write_output(self.folder / name, output)
        yield finished()


def generate(
    protocol: Protocol,
    drawing: Drawing,
    out: Path,
    crew: Crew = IN_PROCESS,
    part: Part = WHOLE,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[str]:
    """Draw the units of a part that are not there yet into `out`; return the names of those that could not be drawn.

    Raises ConfigError where `out` holds pictures that were drawn otherwise.
    """
    units = tuple(protocol.units())
    own = protocol.sampling.model_dump() | drawing.sampling.model_dump(exclude_unset=True)
    sampling = Sampling.model_validate(own)
    record = Generation(
        protocol=protocol.label,
        version=protocol.version,
        options=options_of(protocol),
        data_digest=data_digest(protocol),
        units=len(units),
        model=Model(name=drawing.model, sha256=model_hash(drawing.model), dtype=drawing.dtype),
        sampling=sampling,
        seed=drawing.seed,
        approximations=[] if drawing.dtype == "float32" else [f"arithmetic in {drawing.dtype}"],
    )
    before = read_generation(out)
    if before is not None:
        check_same(out, before, record)
    else:
        write_record(out / GENERATION, record)
    folder = out / DRAWINGS
    chunks = [chunk for chunk in _chunks(units) if part.takes(chunk)]
    todo = [c for c in chunks if not all(is_drawn(protocol, unit, folder) for unit in _chunk(units, c))]
    job = GenerateJob(protocol, units, drawing, sampling, folder)
    base = len(chunks) - len(todo)
    run_chunks(job, todo, "pictures", crew, lambda done: progress(base + done, len(chunks)))
    drawn = (unit for chunk in chunks for unit in _chunk(units, chunk))
    return [unit.name for unit in drawn if not is_drawn(protocol, unit, folder)]


def is_drawn(protocol: Protocol, unit: Unit, folder: Path) -> bool:
    """Say whether all files of a unit are there."""
    return all(protocol.find(folder, output) is not None for output in unit.outputs)


def write_output(path: Path, output: Output) -> None:
    """Write a drawn file under its name, whole or not at all; raises ConfigError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as part:
            part.write_bytes(_bytes_of(output))
    except OSError as error:
        raise ConfigError(f"--out must be writable, got {path}: {error.strerror}. Name another folder.") from error


def _bytes_of(output: Output) -> bytes:
    if isinstance(output, bytes):
        return output
    sink = io.BytesIO()
    if isinstance(output, Image.Image):
        output.save(sink, "PNG")
    else:
        np.save(sink, output, allow_pickle=False)
    return sink.getvalue()


def _chunks(units: Sequence[Unit]) -> range:
    return range(-(-len(units) // CHUNK))


def _chunk(units: Sequence[Unit], number: int) -> Sequence[Unit]:
    return units[number * CHUNK : (number + 1) * CHUNK]
