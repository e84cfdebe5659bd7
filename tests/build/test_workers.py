"""How many workers a step gets where nobody says: as many as cores, and no more than GPUs have shares for.

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
    assert workers.num_workers(step, Options(workers=3)) == 3, "the command's word stands"
