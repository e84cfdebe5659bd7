"""What is asked of the system about a worker's process.

PYTHONPATH=. python -m pytest tests/executor/test_process.py
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

ASK = (
    "import ctypes, signal; asked = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(asked)); print(asked.value)"
)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for it")
def test_a_process_ends_with_its_parent() -> None:
    code = f"from onegen.executor.process import end_with_parent; end_with_parent(); {ASK}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    assert int(done.stdout) == 9


def test_an_actor_ends_with_its_node_and_stands_where_the_build_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    from onegen.executor import ray
    from onegen.storage.local import LocalStore
    from tests.plugins.napping import NappingJob

    ended: list[bool] = []
    monkeypatch.setattr(ray, "end_with_parent", lambda: ended.append(True))
    monkeypatch.chdir("/")
    ray._Worker(NappingJob(LocalStore(str(tmp_path)), 0.0), str(tmp_path), None, frozenset())
    assert (ended, Path.cwd()) == ([True], tmp_path)
    ray._Worker(NappingJob(LocalStore(str(tmp_path)), 0.0), str(tmp_path / "not there"), None, frozenset())
    assert Path.cwd() == tmp_path
