"""How a cluster is joined: what travels there, and addresses at which nothing, or nothing of Ray's, listens.

PYTHONPATH=. python -m pytest tests/executor/test_ray.py
"""

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

pytest.importorskip("ray")

from onegen.errors import ConfigError, Stopped
from onegen.executor import ray as rays
from onegen.executor.contract import Waiting
from onegen.executor.ray import RayPool, package_path, ray_session, runtime_environment
from onegen.sample import Resources
from onegen.storage.local import LocalStore
from tests.conftest import ROOT
from tests.plugins.counting import CountingJob


class Mute(socketserver.BaseRequestHandler):
    """Takes a connection and says nothing on it until it is let go."""

    is_over = threading.Event()

    def handle(self) -> None:
        self.is_over.wait()


@pytest.fixture(params=["http", "mute", "closed"])
def stranger(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of something that is not Ray."""
    if request.param == "closed":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        yield f"127.0.0.1:{port}"
        return
    Mute.is_over.clear()
    kind = HTTPServer if request.param == "http" else socketserver.ThreadingTCPServer
    with kind(("127.0.0.1", 0), BaseHTTPRequestHandler if request.param == "http" else Mute) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        Mute.is_over.set()
        server.shutdown()


def test_an_address_at_which_ray_does_not_listen_is_told_at_once(stranger, monkeypatch):
    monkeypatch.setattr(rays.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(rays, "CONNECT_SECONDS", 1.0)
    monkeypatch.setattr(rays.ray, "init", lambda *args, **kwargs: pytest.fail("Ray itself would try for minutes"))
    with (
        pytest.raises(ConfigError, match=f"--address must be a running Ray cluster, got '{stranger}'"),
        ray_session(stranger, 1),
    ):
        pass


def test_the_nodes_get_this_onegen_and_the_packages_of_plug_ins(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    monkeypatch.setenv("ONEGEN_MODELS", "models")
    monkeypatch.chdir(tmp_path)
    sent = runtime_environment(["tests.plugins.tone", "tests.plugins.echo"])
    assert sent["py_modules"] == [str(ROOT / "onegen"), str(ROOT / "tests")]
    assert sent["env_vars"]["OMP_NUM_THREADS"] == "1"
    assert sent["env_vars"]["ONEGEN_MODELS"] == str(tmp_path / "models"), "a relative path means nothing elsewhere"


@pytest.mark.parametrize("job", [{"py_modules": ["gcs://x.zip"]}, {"env_vars": {"OMP_NUM_THREADS": "4"}}, {}, None])
def test_what_a_job_was_submitted_with_is_not_said_twice(monkeypatch, job):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"runtime_env": job}))
    sent = runtime_environment([])
    assert ("py_modules" in sent) is ("py_modules" not in (job or {}))
    assert ("OMP_NUM_THREADS" in sent["env_vars"]) is ("env_vars" not in (job or {}))


def test_code_that_came_with_a_job_is_not_sent_again(monkeypatch, tmp_path):
    folder = tmp_path / "runtime_resources" / "working_dir_files"
    folder.mkdir(parents=True)
    (folder / "mylab_probe.py").touch()
    monkeypatch.syspath_prepend(folder)
    assert package_path("mylab_probe") == str(folder / "mylab_probe.py")
    assert runtime_environment(["mylab_probe"])["py_modules"] == [str(ROOT / "onegen")]
    with pytest.raises(ConfigError, match="module 'nowhere_at_all' must be a package"):
        package_path("nowhere_at_all.normals")


def test_a_pool_that_finds_no_room_for_long_says_what_is_asked_and_what_there_is(tmp_path, ray_session, monkeypatch):
    job = CountingJob(LocalStore(str(tmp_path)))
    pool = RayPool(job, Resources(custom=(("tape", 1.0),)))
    assert pool.room() == 0
    worker = pool.start()
    assert pool.wait(0.01) == [(worker, Waiting())]
    monkeypatch.setattr(rays, "NO_ROOM_SECONDS", 0.0)
    with pytest.raises(Stopped, match=r"a worker asks for 1 CPU\(s\), 0 GPU\(s\), 1 tape, and no node .* 0 tape"):
        pool.wait(0.01)
    pool.close()
    assert RayPool(job, Resources(num_cpus=2)).room() == 2


def test_a_node_that_cannot_do_the_work_is_left_out_and_named(tmp_path, ray_session):
    pool_notes: list[str] = []
    job = CountingJob(LocalStore(str(tmp_path)))
    pool = RayPool(job, Resources(), Unable(str(tmp_path / "asked")), note=pool_notes.append)
    worker = pool.start()
    words = []
    while not any(number == worker and not isinstance(word, Waiting) for number, word in words):
        words += pool.wait(1.0)
    assert pool.room() == 0
    assert [note for note in pool_notes if "is left out: it has no tapes" in note] == pool_notes != []
    assert Path(tmp_path / "asked").exists()
    pool.close()
    known = RayPool(job, Resources(), Unable(""), frozenset(node["NodeID"] for node in rays.alive_nodes()))
    worker = known.start()
    while not any(isinstance(word, rays.Loaded) for _, word in words):
        words += known.wait(1.0)
    known.close()


class Unable:
    """A question that no node can answer, and that leaves a file where it is asked."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, node: str) -> str | None:
        Path(self.path).touch()
        return "has no tapes"

    def confirm(self, node: str) -> str | None:
        return None
