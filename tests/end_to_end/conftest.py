"""What every end-to-end test must leave behind: nothing."""

import multiprocessing
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster


@pytest.fixture(autouse=True)
def _leaves_nothing_behind(tmp_path: Path) -> Iterator[None]:
    """Fail a test that leaves worker processes, threads or temporary files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path))
        patch.setattr(tempfile, "tempdir", None)
        threads = set(threading.enumerate())
        yield
        assert multiprocessing.active_children() == []
        assert [t for t in set(threading.enumerate()) - threads if not t.daemon] == []
        assert [path.name for path in tmp_path.glob("onegen-*")] == []


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Give a cluster that has no node yet."""
    # Sockets of Ray need a short path.
    folder = Path(tempfile.mkdtemp(prefix="rayt", dir="/tmp"))
    started = Cluster(folder)
    yield started
    started.close()
    shutil.rmtree(folder, ignore_errors=True)
