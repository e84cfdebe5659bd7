"""Tables of a process that was killed are deleted by the next one; those in use are not."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from onegen.storage.spill import PREFIX, Spill

KILLED = "import os, signal; from onegen.storage.spill import Spill; s = Spill(); os.kill(os.getpid(), signal.SIGKILL)"


def test_only_what_a_killed_process_left_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    ended = subprocess.run([sys.executable, "-c", KILLED])
    assert ended.returncode == -signal.SIGKILL
    (left,) = tmp_path.glob(f"{PREFIX}*")
    (tmp_path / "other").mkdir()
    with Spill() as first:
        assert left.exists(), "it could be one that another process makes at this moment"
        for folder in tmp_path.iterdir():
            os.utime(folder, (0, 0))
        with Spill() as second:
            assert not left.exists()
            assert (tmp_path / "other").exists()
            for spill in (first, second):
                spill.execute("CREATE TABLE numbers AS SELECT 1 AS n")
            assert len(list(tmp_path.glob(f"{PREFIX}*"))) == 2
    assert list(tmp_path.glob(f"{PREFIX}*")) == []
