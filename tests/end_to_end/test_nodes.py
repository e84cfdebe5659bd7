"""Many nodes, simulated on this machine: they join, are lost, dawdle, are unfit; drivers die; jobs are submitted.

PYTHONPATH=. python -m pytest tests/end_to_end/test_nodes.py -m slow
"""

import contextlib
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cluster import PATIENCE, Cluster, environment, group_of, kill, wait_until
from tests.conftest import ROOT
from tests.plugins.gate import SLOW
from tests.tiny import dataset, make_recipe, run, strays, write_photos

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="kills processes of Ray by /proc"),
]
pytest.importorskip("ray")


class Site:
    """A folder with photos, a gate and a recipe of paths that mean the same everywhere; one photo a shard."""

    def __init__(self, root: Path, shards: int, **stage: object) -> None:
        self.root, self.out = root, root / "out"
        write_photos(root / "photos", shards)
        (root / "at").mkdir()
        stages = [{"name": "wait", "annotators": {"tests.plugins.gate": {"folder": str(root)}}, **stage}]
        self.recipe = make_recipe(root / "photos", stages, samples_per_shard=1)
        (root / "recipe.yaml").write_text(yaml.safe_dump(self.recipe.model_dump(mode="json")))

    def build(self, cluster: Cluster, *words: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a build from somewhere, and let it write to a file."""
        command = [sys.executable, "-m", "onegen", "build", str(self.root / "recipe.yaml"), str(self.out)]
        with (self.root / "said").open("ab") as said:
            return subprocess.Popen(
                [*command, "--address", cluster.address, *words],
                cwd=cwd or self.root,
                env=environment(self.root),
                stdout=said,
                stderr=said,
            )

    def said(self) -> str:
        """Return what builds have printed, on one line."""
        return " ".join((self.root / "said").read_text().split())

    def waiters(self) -> set[int]:
        """Return the processes that have come to the gate."""
        return {int(path.name.split("-")[1]) for path in (self.root / "at").iterdir()}

    def until(self, number: int, building: subprocess.Popen[bytes]) -> None:
        """Wait until so many workers have come to the gate."""
        wait_until(lambda: len(self.waiters()) >= number or building.poll() is not None, f"{number} workers")
        assert building.poll() is None, self.said()

    def open(self) -> None:
        """Let everybody through."""
        (self.root / "open").touch()

    def end(self, building: subprocess.Popen[bytes]) -> None:
        """Wait for the end of a build that makes what one in this process makes."""
        assert building.wait(PATIENCE) == 0, self.said()
        direct = run(self.recipe, self.root / "direct", workers=0)
        assert dataset(self.out).digest() == direct.digest
        assert direct.counts["gate"].ok == direct.counts["gate"].rows
        assert [name for name in strays(self.out) if not name.startswith("log/")] == []


def test_a_build_grows_with_the_cluster_and_loses_nothing_with_a_node_or_the_driver(tmp_path, cluster):
    """Code travels: the nodes know neither this checkout nor the plug-in. Two nodes join, one cannot do the work."""
    site = Site(tmp_path, 16, num_cpus=1)
    head = cluster.start(1)
    first = site.build(cluster)
    site.until(1, first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    building = site.build(cluster, "--workers", "auto", cwd=elsewhere)
    site.until(2, building)
    second = cluster.start(3)
    other = tmp_path / "other" / "onegen-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: onegen\nVersion: 9.9\n")
    site.until(1 + 1 + 3, building)
    lost = {pid for pid in site.waiters() if pid in group_of(second)}
    assert len(lost) == 3, "one worker a core"
    cluster.start(2, variables={"PYTHONPATH": str(other.parent)})
    wait_until(lambda: "is left out: it has onegen 9.9, the driver" in site.said(), "the refusal")
    kill(second)
    site.open()
    site.end(building)
    hosts = {int(manifest.run.host.rpartition(":")[2]) for manifest in dataset(site.out).manifests("gate")}
    assert not hosts & lost
    assert hosts <= set(group_of(head)) | site.waiters()
    assert "swept" not in site.said() or "uncommitted" in site.said()


def test_a_node_that_dawdles_does_not_hold_the_build_up(tmp_path, cluster):
    """The worker of the slow node never ends its shard."""
    site = Site(tmp_path, 6)
    cluster.start(1)
    cluster.start(1, variables={SLOW: "1"})
    wait_until(lambda: cluster.has_joined(1), "the second node")
    building = site.build(cluster, "--workers", "auto")
    site.until(2, building)
    site.open()
    assert building.wait(PATIENCE) == 0, site.said()
    keys = [path.name.split("-")[0] for path in (tmp_path / "at").iterdir()]
    assert len(keys) == 7
    assert len(set(keys)) == 6, "the shard that the slow node holds was made on the other, and no shard else"
    site.end(building)


def test_nodes_that_cannot_do_the_work_and_rooms_that_are_not_there_are_refused(tmp_path, cluster):
    site = Site(tmp_path, 1, num_cpus=1, resources={"tape": 0.5})
    cluster.start(1)
    assert site.build(cluster).wait(PATIENCE) == 2
    assert "asks for 1 CPU(s), 0 GPU(s), 0.5 tape a worker, and no node of the cluster has them (" in site.said()
    other = tmp_path / "other" / "onegen-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: onegen\nVersion: 9.9\n")
    cluster.start(1, '--resources={"tape": 1}', variables={"PYTHONPATH": str(other.parent)})
    wait_until(lambda: cluster.has_joined(1), "the second node")
    assert site.build(cluster).wait(PATIENCE) == 2
    assert "every node must be able to do the work" in site.said()
    assert "has onegen 9.9, the driver" in site.said()
    assert not (site.out / "dataset.json").exists()


def test_a_job_that_is_submitted_builds(tmp_path, cluster):
    """As docs/cluster.md has it: the driver runs on the head, in the folder that was submitted."""
    pytest.importorskip("aiohttp_cors")
    from ray.job_submission import JobStatus, JobSubmissionClient

    site = Site(tmp_path, 2, num_gpus=0.25)
    site.open()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cluster.start(2, "--num-gpus=1", dashboard=port)
    folder = tmp_path / "submitted"
    folder.mkdir()
    (tmp_path / "recipe.yaml").rename(folder / "recipe.yaml")
    jobs: list[str] = []

    def is_submitted() -> bool:
        # The dashboard answers a while before the node has somebody to run jobs.
        with contextlib.suppress(OSError, RuntimeError):
            jobs.append(
                JobSubmissionClient(f"http://127.0.0.1:{port}").submit_job(
                    entrypoint=f"{sys.executable} -m onegen build recipe.yaml {site.out} --address auto",
                    runtime_env={"working_dir": str(folder), "env_vars": {"PYTHONPATH": str(ROOT)}},
                )
            )
        return bool(jobs)

    wait_until(is_submitted, "the dashboard")
    (job,), client = jobs, JobSubmissionClient(f"http://127.0.0.1:{port}")
    ends = {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED}

    def has_ended() -> bool:
        with contextlib.suppress(OSError):
            return client.get_job_status(job) in ends
        return False

    wait_until(has_ended, "the job")
    assert client.get_job_status(job) == JobStatus.SUCCEEDED, client.get_job_logs(job)
    plain = site.recipe.model_copy(update={"stages": [site.recipe.stages[0].model_copy(update={"num_gpus": 0.0})]})
    assert dataset(site.out).digest() == run(plain, tmp_path / "direct").digest
