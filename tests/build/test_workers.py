"""How many workers a step gets where nobody says, or `auto` does: as many as cores and shares of GPUs.

PYTHONPATH=. python -m pytest tests/build/test_workers.py
"""

from types import SimpleNamespace

import pytest

from onegen.build import workers
from onegen.build.work import Options
from onegen.sample import Resources


@pytest.mark.parametrize(
    ("gpus", "share", "expected"), [(0, 0.0, 8), (2, 1.0, 2), (2, 0.5, 4), (4, 0.25, 8), (1, 2.0, 1), (0, 1.0, 1)]
)
def test_a_gpu_is_shared_by_as_many_workers_as_it_has_shares(monkeypatch, gpus, share, expected):
    monkeypatch.setattr(workers, "count_cores", lambda: 8)
    monkeypatch.setattr(workers, "count_gpus", lambda: gpus)
    step = SimpleNamespace(workers=None, resources=Resources(num_gpus=share))
    assert workers.num_workers(step, Options()) == expected
    assert workers.num_workers(step, Options(workers="auto")) == expected
    assert workers.num_workers(step, Options(workers=3)) == 3, "the command's word stands"


@pytest.mark.parametrize(("cores", "expected"), [(0.5, 8), (2.0, 4), (3.0, 2), (16.0, 1)])
def test_a_worker_of_several_cores_leaves_room_for_fewer(monkeypatch, cores, expected):
    monkeypatch.setattr(workers, "count_cores", lambda: 8)
    step = SimpleNamespace(workers="auto", resources=Resources(num_cpus=cores))
    assert workers.num_workers(step, Options()) == expected


@pytest.mark.parametrize(
    ("recipe", "command", "expected"),
    [
        (None, None, None),
        ("auto", None, None),
        (4, "auto", None),
        (400, None, 400),
        ("auto", 3, 3),
    ],
)
def test_a_cluster_is_filled_unless_somebody_names_a_number(recipe, command, expected):
    step = SimpleNamespace(workers=recipe, resources=Resources())
    assert workers.num_workers(step, Options("ray", "10.0.0.1:6379", command)) == expected
