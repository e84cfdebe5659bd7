"""Local workers: what the pool makes of a process that ends badly."""

import multiprocessing
import os
import struct
from pathlib import Path

from onegen.build.pack import PackJob
from onegen.executor.contract import Died
from onegen.executor.local import LocalPool, _Process
from onegen.storage.local import LocalStore


def test_a_worker_that_dies_with_a_message_half_sent_is_a_dead_worker(tmp_path: Path) -> None:
    pool = LocalPool(PackJob(LocalStore(str(tmp_path)), "image", (), (), {}))
    process = multiprocessing.get_context("spawn").Process(target=os._exit, args=(7,), daemon=True)
    process.start()
    ours, theirs = multiprocessing.Pipe()
    os.write(theirs.fileno(), struct.pack("!i", 1000) + b"the beginning of a manifest")
    theirs.close()
    pool._workers[1] = _Process(process, ours)
    assert pool.wait(1) == [(1, Died("exited with code 7"))]
    pool.close()
