"""Tables of a process that was killed are deleted by the next one; those in use are not.

PYTHONPATH=. python -m pytest tests/storage/test_spill_left_over.py
"""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from onegen.storage.spill import JUST_MADE_SECONDS, PREFIX, Spill

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


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, empty."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def make_folder(root: Path, name: str, age: float) -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "rows.parquet").touch()
    made = time.time() - age
    os.utime(folder, (made, made))
    return folder


@pytest.mark.parametrize(
    ("name", "age", "stays"),
    [
        (f"{PREFIX}old", JUST_MADE_SECONDS + 10, False),
        (f"{PREFIX}ancient", 10**7, False),
        (f"{PREFIX}fresh", 0, True),
        (f"{PREFIX}almost", JUST_MADE_SECONDS - 10, True),
        ("someone-elses", 10**7, True),
        (f"not-{PREFIX}", 10**7, True),
    ],
)
def test_a_folder_without_a_lock_goes_once_it_is_old(temporary: Path, name: str, age: float, stays: bool) -> None:
    folder = make_folder(temporary, name, age)
    with Spill():
        assert folder.exists() == stays
        assert (folder / "rows.parquet").exists() == stays


def test_an_old_folder_whose_lock_is_held_stays(temporary: Path) -> None:
    folder = make_folder(temporary, f"{PREFIX}busy", 10**7)
    # Another process: its lock is taken here, as it takes it itself.
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with Spill():
        assert (folder / "rows.parquet").exists()
    os.close(descriptor)
    with Spill():
        assert not folder.exists()


def test_a_spill_holds_the_lock_of_its_folder_while_it_lives(temporary: Path) -> None:
    with Spill():
        (folder,) = temporary.iterdir()
        descriptor = os.open(folder, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)


def test_what_cannot_be_looked_at_is_passed_over(temporary: Path) -> None:
    (temporary / f"{PREFIX}dangling").symlink_to("nowhere")
    old = make_folder(temporary, f"{PREFIX}old", 10**7)
    with Spill():
        assert not old.exists()
