"""The same no-op job on Ray Data, as fast as its options make it: tar shards in, no-op actors, tar shards out.

Settings: raw bytes (decoder and encoder None), batches of 16, one block a shard, two actors, Arrow batches without
copies, as many virtual cores as keep reading and writing from waiting for the actors. Orders come as JSON on stdin.
"""

import logging
import tarfile
import time
from pathlib import Path

import pyarrow as pa
import ray

from benchmarks.process import mark, receive, tell


class Noop:
    """The actor's class."""

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return the batch."""
        return batch


def main() -> None:
    """Read the shards the orders name, pass every sample through the actors, and write shards."""
    orders = receive()
    mark()
    began = time.perf_counter()
    ray.init(
        address="local",
        num_cpus=2 * orders["workers"],
        object_store_memory=512 * 1024 * 1024,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    paths = sorted(str(path) for path in Path(orders["shards"]).glob("*.tar"))
    rows = ray.data.read_webdataset(paths, decoder=None, override_num_blocks=len(paths))
    passed = rows.map_batches(
        Noop,
        batch_size=16,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ray.data.ActorPoolStrategy(size=orders["workers"]),
        num_cpus=1,
    )
    passed.write_webdataset(orders["out"], encoder=None)
    wall = time.perf_counter() - began
    mark()
    tell({"wall": wall, "keys": count_keys(Path(orders["out"]))})


def count_keys(folder: Path) -> int:
    """Return how many different samples the shards in a folder hold."""
    keys: set[str] = set()
    for path in folder.rglob("*.tar"):
        with tarfile.open(path) as archive:
            keys.update(name.partition(".")[0] for name in archive.getnames())
    return len(keys)


if __name__ == "__main__":
    main()
