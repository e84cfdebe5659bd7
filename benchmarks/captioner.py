"""How many requests the captioner of a served model keeps in flight, and what one costs this side.

    python -m benchmarks captioner

A stand-in answers each question after a while, as models do, some sooner and some later. It counts how many it holds on
average, from the first that comes to the last, while a build asks for captions of photos of 768 pixels. What a caption
costs is measured of the annotator alone: CPU-seconds of this process from pixels to caption.
"""

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from benchmarks.generated import make_recipe, write_photos
from benchmarks.process import run_child
from benchmarks.table import Row, Table, version
from onegen.annotators.caption.server import ServedCaption
from onegen.sample import Item

BAR_FLIGHT, BAR_MILLISECONDS = 0.9, 5.0


@dataclass(frozen=True)
class Size:
    """How many photos of which side, how many requests at once, how long an answer takes, and how many rounds."""

    photos: int = 1024
    side: int = 768
    in_flight: int = 64
    seconds: tuple[float, float] = (2.0, 4.0)
    rounds: int = 3


TINY = Size(photos=4, side=64, in_flight=2, seconds=(0.0, 0.01), rounds=1)


def run(size: Size = Size()) -> list[Table]:
    """Caption the photos once a round, each way, and return both tables."""
    with tempfile.TemporaryDirectory(prefix="onegen-bench-") as folder:
        scratch = Path(folder)
        write_photos(scratch / "photos", size.photos, size.side)
        flights = [_held(scratch, size) for _ in range(size.rounds)]
        costs = [_cost(scratch, size) for _ in range(size.rounds)]
    share, cost = statistics.median(flights) / size.in_flight, statistics.median(costs)
    ours = version("onegen")
    flight = Row(f"{size.in_flight} asked for", flights, share, f">= {BAR_FLIGHT:.0%}", share >= BAR_FLIGHT, ours)
    caption = Row("a caption", costs, cost / BAR_MILLISECONDS, f"< {BAR_MILLISECONDS:g}", cost < BAR_MILLISECONDS, ours)
    note = f"{size.photos} photos of {size.side} pixels, answers after {size.seconds[0]:g} to {size.seconds[1]:g} s"
    return [
        Table("captioner: requests in flight", "requests, on average", "asked for", [flight], [note]),
        Table("captioner: from pixels to caption", "CPU-milliseconds", "bar", [caption], [note]),
    ]


def _held(scratch: Path, size: Size) -> float:
    """Return how many requests the server held while a build captioned all photos."""
    with _server(size.seconds) as (url, told):
        options = {"backend": "server", "model": "see", "url": url, "in_flight": size.in_flight}
        stage = {"name": "captions", "annotators": {"caption": options}, "batch_size": 2 * size.in_flight}
        recipe = make_recipe(scratch / "photos", size.photos, [stage])
        out = tempfile.mkdtemp(dir=scratch)
        run_child("benchmarks.build", {"recipe": recipe, "out": out, "options": {"workers": 1}})
    if told["requests"] != size.photos:
        raise RuntimeError(f"the server must be asked once a photo, got {told['requests']} for {size.photos}")
    return float(told["mean"])


def _cost(scratch: Path, size: Size) -> float:
    """Return the CPU-milliseconds from pixels to caption of one photo, many asked for at once."""
    paths = sorted((scratch / "photos").iterdir())[: 2 * size.in_flight]
    items = [Item(f"{n:020x}", cv2.imread(str(path))[:, :, ::-1].copy()) for n, path in enumerate(paths)]
    with _server((0.5, 1.0)) as (url, _):
        captioner = ServedCaption(model="see", url=url, in_flight=size.in_flight)
        began = time.process_time()
        captioner.annotate(items)
        return 1000 * (time.process_time() - began) / len(items)


@contextlib.contextmanager
def _server(seconds: tuple[float, float]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the endpoint of a stand-in, and what it has counted, once the block is left."""
    command = [sys.executable, "-m", "benchmarks.answering", *map(str, seconds)]
    told: dict[str, Any] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1", told
        finally:
            server.stdin.write("\n")
            server.stdin.flush()
            told |= json.loads(server.stdout.readline())
