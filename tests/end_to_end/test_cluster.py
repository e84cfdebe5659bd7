"""Builds on a Ray cluster of this machine's loopback: paths, places, and the loss of nodes and of the head.

PYTHONPATH=. python -m pytest tests/end_to_end/test_cluster.py
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from onegen.audit.verify import verify
from tests.conftest import ROOT
from tests.tiny import dataset, make_recipe, run, write_photos

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="kills processes of Ray by /proc")]
ray = pytest.importorskip("ray")

PATIENCE = 100.0
STAGES = [{"name": "look", "annotators": {"tests.plugins.dawdle": {}}, "batch_size": 1}]


def environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": str(folder),
    }


def wait_until(answer: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not answer():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.1)


class Cluster:
    """A head and further nodes, each the process group of a `ray start --block`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._nodes: list[subprocess.Popen[bytes]] = []

    def start(self, cores: int) -> subprocess.Popen[bytes]:
        """Start a node with so many cores, somewhere else than where the build is started; the first is the head."""
        port = self.address.rpartition(":")[2]
        role = ["--address", self.address] if self._nodes else ["--head", f"--port={port}", "--include-dashboard=false"]
        command = [str(Path(sys.executable).with_name("ray")), "start", *role, f"--num-cpus={cores}", "--block"]
        command += ["--object-store-memory=80000000", "--disable-usage-stats"]
        log = (self._folder / f"node{len(self._nodes)}.log").open("wb")
        node = subprocess.Popen(
            command, cwd="/", env=environment(self._folder), stdout=log, stderr=log, start_new_session=True
        )
        self._nodes.append(node)
        if len(self._nodes) == 1:
            wait_until(lambda: self._listens() or node.poll() is not None, "the head")
            assert node.poll() is None, Path(log.name).read_text()
        return node

    def has_joined(self, number: int) -> bool:
        """Say whether a node says that it is part of the cluster."""
        return b"Ray runtime started" in (self._folder / f"node{number}.log").read_bytes()

    def _listens(self) -> bool:
        host, _, port = self.address.rpartition(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return True
        return False

    def kill_head(self) -> None:
        """Kill the process that answers at the address, and nothing else of its node."""
        for pid in group_of(self._nodes[0]):
            with contextlib.suppress(OSError):
                if b"gcs_server" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]:
                    os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        for node in self._nodes:
            kill(node)


def group_of(node: subprocess.Popen[bytes]) -> list[int]:
    """Return the processes that a node is made of."""
    pids = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and os.getsid(int(entry.name)) == node.pid:
                pids.append(int(entry.name))
    return pids


def kill(node: subprocess.Popen[bytes]) -> None:
    """Kill a node as a power cut does."""
    for pid in group_of(node):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    node.wait()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    # Sockets of Ray need a short path.
    folder = Path(tempfile.mkdtemp(prefix="rayt", dir="/tmp"))
    started = Cluster(folder)
    yield started
    started.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with photos and a recipe that names them relatively."""
    write_photos(tmp_path / "photos", 12)
    recipe = make_recipe(Path("photos"), STAGES, samples_per_shard=2)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    return tmp_path


def start_build(folder: Path, cluster: Cluster, workers: int) -> subprocess.Popen[str]:
    words = ["build", "recipe.yaml", "out", "--address", cluster.address, "--workers", str(workers)]
    return subprocess.Popen(
        [sys.executable, "-m", "onegen", *words],
        cwd=folder,
        env=environment(folder),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def direct_digest(folder: Path) -> str | None:
    return run(make_recipe(folder / "photos", STAGES, samples_per_shard=2), folder / "direct").digest


def is_on_its_way(folder: Path) -> bool:
    return any((folder / "out/columns/dawdle").glob("*.json"))


def test_relative_paths_and_more_workers_than_places_make_the_bytes_of_a_direct_build(folder, cluster):
    cluster.start(1)
    building = start_build(folder, cluster, workers=3)
    output, _ = building.communicate(timeout=PATIENCE)
    assert building.returncode == 0, output
    assert dataset(folder / "out").digest() == direct_digest(folder)
    assert list(verify(dataset(folder / "out"), full=True)) == []


def test_a_node_that_is_lost_blames_nobody(folder, cluster):
    cluster.start(1)
    second = cluster.start(1)
    building = start_build(folder, cluster, workers=2)
    wait_until(lambda: is_on_its_way(folder) or building.poll() is not None, "the stage")
    kill(second)
    output, _ = building.communicate(timeout=PATIENCE)
    assert building.returncode == 0, output
    assert dataset(folder / "out").digest() == direct_digest(folder)


def test_a_head_that_is_lost_ends_the_build_in_good_order(folder, cluster):
    cluster.start(2)
    building = start_build(folder, cluster, workers=2)
    wait_until(lambda: is_on_its_way(folder) or building.poll() is not None, "the stage")
    cluster.kill_head()
    output, _ = building.communicate(timeout=PATIENCE)
    assert building.returncode == 3, output
    assert "Run the same command again" in output
    cluster.close()
    assert run(make_recipe(folder / "photos", STAGES, samples_per_shard=2), folder / "again").digest is not None


def test_the_doctor_asks_the_nodes_and_names_what_none_has_room_for(cluster: Cluster, folder: Path) -> None:
    for cores in (1, 2):
        cluster.start(cores)
    wait_until(lambda: cluster.has_joined(1), "the second node")
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    greedy = {**recipe, "stages": [{**recipe["stages"][0], "num_gpus": 1}]}
    (folder / "greedy.yaml").write_text(yaml.safe_dump(greedy))
    said: dict[str, tuple[int, str]] = {}
    for name in ("recipe", "greedy"):
        words = ["doctor", f"{name}.yaml", "out", "--address", cluster.address]
        done = subprocess.run(
            [sys.executable, "-m", "onegen", *words],
            cwd=folder,
            env=environment(folder),
            text=True,
            capture_output=True,
            check=False,
        )
        said[name] = done.returncode, done.stdout
    assert said["recipe"][0] == 0, said["recipe"][1]
    nodes = re.findall(r"^ok      node (\S+): sees the source, writes OUT, has all weights$", said["recipe"][1], re.M)
    assert len(nodes) == len(set(nodes)) == 2, "two nodes of one machine are two"
    assert said["greedy"][0] == 1
    assert "missing room for look: step 'look' asks for 1 CPU(s), 1 GPU(s) a worker, and no node" in said["greedy"][1]
    assert "ok      room for image" in said["greedy"][1]
