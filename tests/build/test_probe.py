"""Whether there is room for a build's workers, and what each node of a cluster must be able to do.

PYTHONPATH=. python -m pytest tests/build/test_probe.py
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from onegen.build import probe
from onegen.build.probe import NodeProbe, check_cluster, check_machine, versions
from onegen.build.work import Options, Work, prepare
from onegen.errors import ConfigError
from onegen.executor import machine
from onegen.sample import Resources
from onegen.storage.local import LocalStore
from onegen.weights.folder import models_folder
from tests.tiny import make_recipe, run, write_photos

GREEDY = [{"name": "look", "annotators": {"tests.plugins.tone": {}}, "num_gpus": 1}]
NODES = [
    {"NodeID": "a", "NodeManagerAddress": "10.0.0.1", "Resources": {"CPU": 2.0, "memory": 1e9}, "Alive": True},
    {
        "NodeID": "b",
        "NodeManagerAddress": "10.0.0.2",
        "Resources": {"CPU": 8.0, "GPU": 1.0, "memory": 1e9},
        "Alive": True,
    },
]


def work_in(folder: Path, stages: Sequence[dict[str, Any]] = (), address: str | None = None) -> Work:
    """Return a build on Ray, before it runs, of two photos."""
    write_photos(folder / "photos", 2)
    store = LocalStore(str(folder / "out"))
    return prepare(make_recipe(folder / "photos", list(stages)), store, Options(executor="ray", address=address))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_step_that_asks_for_a_gpu_where_there_is_none_is_refused_before_anything_is_made(
    tmp_path, monkeypatch, workers
):
    write_photos(tmp_path / "photos", 2)
    monkeypatch.setattr(probe, "count_gpus", lambda: 0)
    with pytest.raises(ConfigError, match=r"step 'look' asks for .*1 GPU\(s\).*this machine has 0.*num_gpus: 0"):
        run(make_recipe(tmp_path / "photos", GREEDY), tmp_path / "out", workers=workers)
    assert not (tmp_path / "out").exists()
    run(make_recipe(tmp_path / "photos", GREEDY), tmp_path / "out", workers=workers, only=("image",))
    monkeypatch.setattr(probe, "count_gpus", lambda: 1)
    run(make_recipe(tmp_path / "photos", GREEDY), tmp_path / "out", workers=workers)


def test_who_asks_for_no_gpu_costs_no_look_at_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "count_gpus", lambda: pytest.fail("nobody asked"))
    check_machine(work_in(tmp_path))


@pytest.mark.parametrize(
    ("asked", "is_refused"),
    [
        ({}, False),
        ({"num_gpus": 1.0}, False),
        ({"num_gpus": 2.0}, True),
        ({"num_cpus": 9.0}, True),
        ({"num_gpus": 0.25}, False),
        ({"memory": 2 * 10**9}, True),
        ({"resources": {"fast_disk": 1}}, True),
    ],
)
def test_a_cluster_must_have_a_node_with_room_for_one_worker(tmp_path, monkeypatch, asked, is_refused):
    pytest.importorskip("ray")
    from onegen.executor import nodes

    monkeypatch.setattr(nodes, "alive_nodes", lambda: NODES)
    monkeypatch.setattr(probe, "lacking_on_nodes", lambda work, probe: [])
    work = work_in(tmp_path, [{"name": "look", "annotators": {"tests.plugins.tone": {}}, **asked}])
    if not is_refused:
        check_cluster(work)
        return
    with pytest.raises(ConfigError, match=r"step 'look' asks for .*10\.0\.0\.2: 8 CPU\(s\), 1 GPU\(s\)"):
        check_cluster(work)


def test_a_node_says_what_it_cannot_do(tmp_path, monkeypatch):
    store = LocalStore(str(tmp_path / "out"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "models").symlink_to(models_folder())

    def ask(store: LocalStore = store, **changes: Any) -> str | None:
        facts = {"source_root": str(tmp_path / "photos"), "versions": versions(), "mark": "0" * 32, **changes}
        return NodeProbe(store=store, **facts)("a")

    assert ask() is None
    assert f"has onegen {versions()['onegen']}, the driver 9.9" in str(ask(versions={**versions(), "onegen": "9.9"}))
    assert "has Python" in str(ask(versions={**versions(), "Python": "2.7"}))
    assert "has code of onegen" in str(ask(versions={**versions(), "code of onegen": "0" * 12}))
    stages = tuple(make_recipe(tmp_path / "photos", [{"name": "draw", "annotators": {"hed": {}}}]).stages)
    assert ask(stages=stages) is None
    monkeypatch.setenv("ONEGEN_MODELS", str(tmp_path / "no models"))
    assert "lacks what annotator hed needs: model file" in str(ask(stages=stages))
    monkeypatch.setenv("ONEGEN_MODELS", "models")
    assert "lacks what annotator hed needs" in str(ask(stages=stages))
    assert ask(stages=stages, folder=str(tmp_path / "here")) is None, "a relative path is the driver's"
    assert "cannot see the source" in str(ask(source_root=str(tmp_path / "elsewhere")))
    assert ask(source_root=None) is None
    (tmp_path / "file").touch()
    assert "cannot read the source or write into" in str(ask(store=LocalStore(str(tmp_path / "file"))))


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any, Any], dict[str, str | None]]], None]:
    """Let a test answer for the nodes."""
    pytest.importorskip("ray")
    from onegen.executor import nodes

    monkeypatch.setattr(nodes, "alive_nodes", lambda: NODES)
    return lambda answer: monkeypatch.setattr(nodes, "ask_each", answer)


def test_nodes_that_cannot_do_the_work_are_named(tmp_path, answers):
    work = work_in(tmp_path)
    answers(lambda question, nodes: {"a": None, "b": "cannot see the source /x."})
    with pytest.raises(ConfigError, match=r"10\.0\.0\.2 cannot see the source /x"):
        check_cluster(work)
    answers(lambda question, nodes: {node["NodeID"]: question(node["NodeID"]) for node in nodes})
    found = check_cluster(work)
    assert found is not None
    assert found.able == {"a", "b"}
    assert work.dataset.store.names(".tmp") == []
    answers(lambda question, nodes: {"a": question("a"), "b": None})
    with pytest.raises(ConfigError, match=r"10\.0\.0\.2 has a folder .*out of its own"):
        check_cluster(work)


def test_a_node_that_is_lost_while_it_is_asked_is_left_out(tmp_path, answers):
    answers(lambda question, nodes: {"a": question("a")})
    found = check_cluster(work_in(tmp_path))
    assert found is not None
    assert found.able == {"a"}


def test_a_node_is_asked_for_the_weights_of_the_stages_it_has_room_for(tmp_path, answers):
    stages = [*GREEDY, {"name": "again", "annotators": {"tests.plugins.echo": {}}}]
    work = work_in(tmp_path, stages, "10.0.0.1:6379")
    asked: dict[str, list[str]] = {}

    def answer(question, nodes):
        asked.update({node["NodeID"]: [stage.name for stage in question.stages] for node in nodes})
        return {node["NodeID"]: question(node["NodeID"]) for node in nodes}

    answers(answer)
    found = check_cluster(work)
    assert asked == {"a": ["again"], "b": ["look", "again"]}
    assert found is not None
    assert [stage.name for stage in found.question(work.wanted_steps()[-2]).stages] == ["again"]


def test_a_node_without_room_for_any_worker_is_not_asked(tmp_path, answers, monkeypatch):
    from onegen.executor import nodes

    head = {"NodeID": "h", "NodeManagerAddress": "10.0.0.9", "Resources": {"memory": 1e9}, "Alive": True}
    monkeypatch.setattr(nodes, "alive_nodes", lambda: [head, *NODES])
    answers(lambda question, asked: {node["NodeID"]: question(node["NodeID"]) for node in asked})
    found = check_cluster(work_in(tmp_path))
    assert found is not None
    assert found.able == {"a", "b"}


@pytest.mark.parametrize(
    ("asked", "places"),
    [
        (Resources(), [2, 8]),
        (Resources(num_cpus=3), [0, 2]),
        (Resources(num_gpus=0.25), [0, 4]),
        (Resources(num_cpus=0.1, num_gpus=1 / 3), [0, 3]),
        (Resources(memory=4 * 10**8), [2, 2]),
        (Resources(num_cpus=0), [2, 8]),
        (Resources(custom=(("tape", 1.0),)), [0, 0]),
    ],
)
def test_a_node_has_places_for_as_many_workers_as_what_is_scarcest_allows(asked, places):
    pytest.importorskip("ray")
    from onegen.executor.nodes import places as of

    assert [of(node, asked) for node in NODES] == places


@pytest.mark.parametrize(("visible", "number"), [(None, 3), ("0", 1), ("0,2", 2), ("", 0), ("0,1,2,3,4", 3)])
def test_gpus_are_counted_as_far_as_they_are_visible(monkeypatch, tmp_path: Path, visible: str | None, number: int):
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\nfor n in 0 1 2; do echo "GPU $n: NVIDIA (UUID: GPU-$n)"; done\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    for name in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.count_gpus() == number
