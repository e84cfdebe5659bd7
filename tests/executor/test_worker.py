"""Loading: what a process of its own does with its garbage collector, and this process does not."""

import gc
from pathlib import Path

from onegen.build.pack import PackJob
from onegen.executor.local import InProcessPool
from onegen.executor.worker import load_for_good
from onegen.storage.local import LocalStore


def test_only_a_process_of_its_own_freezes_what_is_loaded(tmp_path: Path) -> None:
    job = PackJob(LocalStore(str(tmp_path)), "image", (), (), {})
    InProcessPool(job).start()
    assert gc.get_freeze_count() == 0, "in process, the collector is the caller's"
    try:
        load_for_good(job)
        assert gc.get_freeze_count() > 10_000, "at the least what pyarrow and pydantic are made of"
        assert gc.isenabled()
    finally:
        gc.unfreeze()
