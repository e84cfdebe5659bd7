"""The backends of the hub on a CUDA device: what they say there is what they say on a CPU; memory that runs out; pace.

make gpu
"""

import json
import math

import numpy as np
import pytest
import torch

from onegen.build.appetite import Appetite, is_out_of_memory
from onegen.config.registry import find
from onegen.pixels.boxes import box_fields
from onegen.sample import Annotation, Item, Rejected
from onegen.shards.run import peak_gpu
from tests.checkpoints import CHECKPOINTS, checkpoint, options

pytestmark = [pytest.mark.gpu, pytest.mark.torch]
ON_CPU = {"arcface"}
"""Backends that do not run on a GPU."""
DEVICE_FACTOR = 20.0
"""Another device sums in another order in every layer; a batch's neighbours only change the size of a few."""


@pytest.fixture(autouse=True)
def exact_arithmetic():
    """Compare float32 with float32: convolutions are TF32 by default, which has ten bits."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False):
        yield


def picture(number: int) -> np.ndarray:
    """Return a smooth picture with a few edges, another for each number."""
    y, x = np.mgrid[0:96, 0:128] / 128.0
    waves = [np.sin(3 * x + number + c) + np.cos(5 * y * (c + 1) - number) for c in range(3)]
    pixels = (np.stack(waves, axis=2) + 2) / 4 * 255
    pixels[30:60, 40 + number : 90] = (200, 40 * number, 60)
    return pixels.astype(np.uint8)


def items(count: int) -> list[Item]:
    boxes = [(10.0, 10.0, 60.0, 80.0), (40.0, 30.0, 90.0, 60.0)]
    entities = [
        {"label": label, "score": 0.9, "colour": "red", **box_fields(box)}
        for label, box in zip(("person", "bus"), boxes, strict=True)
    ]
    people = [{**entity, "label": "person"} for entity in entities]
    annotations = {
        "detection": Annotation({"objects": people}),
        "entities": Annotation({"entities": entities}),
        "names": Annotation({"names": ["person", "red bus"]}),
        "caption": Annotation({"caption": "a bus and a person"}),
    }
    return [Item(f"{n:020x}", picture(n), "as it came", annotations) for n in range(count)]


def answers(name: str, backend: str, **changes: object) -> list[Annotation | Rejected]:
    cls = find("annotators", name, {"backend": backend})
    annotator = cls(model=str(checkpoint(name, backend)), **options(name, backend), **changes)
    annotator.load()
    return annotator.annotate(items(3))


@pytest.mark.parametrize(("name", "backend"), sorted(key for key in CHECKPOINTS if key[1] not in ON_CPU))
def test_a_gpu_says_what_a_cpu_says(name, backend):
    here = answers(name, backend, device="cpu", dtype="float32")
    there = answers(name, backend, device="cuda", dtype="float32")
    tolerance = find("annotators", name, {"backend": backend}).tolerance
    for one, other in zip(here, there, strict=True):
        assert type(one) is type(other)
        if isinstance(one, Rejected):
            continue
        for field, value in one.values.items():
            # Which queries a DETR of random weights chooses is a toss-up: sums in another order exchange them.
            if tolerance.get(field) != math.inf and backend != "rt-detr":
                assert_near(value, other.values[field], DEVICE_FACTOR * tolerance.get(field, 0.0))
        for part, content in one.parts.items():
            apart = np.abs(content.astype(float) - np.asarray(other.parts[part]).astype(float))
            # A pixel at a threshold may fall on its other side; a map that is another is not.
            assert np.quantile(apart, 0.99) <= DEVICE_FACTOR * max(tolerance.get(part, 0.0), 1.0), part


def assert_near(one: object, other: object, tolerance: float) -> None:
    """Compare numbers wherever they stand; lists of another length only by their share."""
    if isinstance(one, float) and isinstance(other, float):
        assert abs(one - other) <= max(tolerance, 1e-6)
    elif isinstance(one, list) and isinstance(other, list):
        assert abs(len(one) - len(other)) <= max(1, len(one) // 10)
        if len(one) == len(other):
            for value, again in zip(one, other, strict=True):
                assert_near(value, again, tolerance)
    elif isinstance(one, dict) and isinstance(other, dict):
        for name in one:
            assert_near(one[name], other[name], tolerance)
    elif not isinstance(one, int | float):
        assert json.dumps(one) == json.dumps(other)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    ("name", "backend"), [("depth", "depth-anything"), ("caption", "vlm"), ("similarity", "siglip")]
)
def test_narrow_arithmetic_runs(name, backend, dtype):
    assert all(isinstance(answer, Annotation) for answer in answers(name, backend, device="cuda", dtype=dtype))


def test_a_compiled_network_says_the_same():
    plain = answers("depth", "depth-anything", device="cuda")
    compiled = answers("depth", "depth-anything", device="cuda", compile=True)
    for one, other in zip(plain, compiled, strict=True):
        apart = np.abs(one.parts["depth.png"].astype(float) - other.parts["depth.png"].astype(float))
        assert apart.max() <= DEVICE_FACTOR * 66


def test_memory_that_runs_out_halves_the_batch_and_nothing_is_lost():
    free, _ = torch.cuda.mem_get_info()
    appetite, given = Appetite(), []

    def hungry(prepared):
        given.append(len(prepared))
        block = torch.empty(len(prepared), free // 5, dtype=torch.uint8, device="cuda")
        block[:, 0] = 1
        return [int(value) for value in block[:, 0].cpu()]

    assert appetite.fed(hungry, range(8)) == [1] * 8
    assert given == [8, 4, 4] or given[:3] == [8, 4, 2]
    assert appetite.halvings >= 1
    with pytest.raises(torch.OutOfMemoryError) as caught:
        appetite.fed(lambda prepared: torch.empty(2 * free, dtype=torch.uint8, device="cuda"), [0])
    assert is_out_of_memory(caught.value)
    torch.cuda.empty_cache()


def test_the_memory_a_shard_took_is_known():
    peak_gpu()
    block = torch.ones(100 << 20, dtype=torch.uint8, device="cuda")
    assert peak_gpu() >= 100 << 20
    del block
