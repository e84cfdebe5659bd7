"""Builds on a Ray cluster of this machine's loopback: paths, places, and the loss of nodes and of the head.

PYTHONPATH=. python -m pytest tests/end_to_end/test_cluster.py
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from onegen.audit.verify import verify
from tests.cluster import PATIENCE, Cluster, environment, kill, wait_until
from tests.tiny import dataset, make_recipe, run, write_photos

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="kills processes of Ray by /proc")]
pytest.importorskip("ray")

STAGES = [{"name": "look", "annotators": {"tests.plugins.dawdle": {}}, "batch_size": 1}]


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
