"""Before a build begins: whether there is room for its workers, and whether every node of a cluster can do its work.

A node that cannot see the source would fail every row, and one that writes elsewhere would lose every
shard. docs/build.md.
"""

import contextlib
import os
import platform
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import fsspec

import onegen
from onegen.build.steps import Step
from onegen.build.work import Work
from onegen.config.recipe import StageConfig, make_annotator
from onegen.errors import ConfigError
from onegen.executor.machine import count_gpus
from onegen.shards.canonical import sha256
from onegen.storage.local import TEMPORARY
from onegen.storage.store import Store


def check_machine(work: Work) -> None:
    """Raise ConfigError for a step that asks for GPUs which this machine, where it is to run, does not have."""
    if work.options.address is None:
        _refuse(lacking_here(step) for step in work.wanted_steps())


@dataclass(frozen=True)
class Nodes:
    """What nodes of a cluster are asked, and the ids of those that were found to be able to do the work."""

    probe: "NodeProbe"
    able: frozenset[str]

    def question(self, step: Step) -> "NodeProbe":
        """Return what a node that joins later is asked before a worker of a step runs there."""
        return replace(self.probe, stages=tuple(stage for stage in self.probe.stages if stage.name == step.name))


def check_cluster(work: Work) -> Nodes | None:
    """Return the nodes that can do the work; None for local workers, which need no such check.

    Raises ConfigError for workers no node has room for, and naming a node that cannot read the source, write OUT or
    load what the stages it has room for need. A Ray session must be up.
    """
    if work.options.executor == "local":
        return None
    _refuse(lacking_on_cluster(step) for step in work.wanted_steps())
    probe = node_probe(work)
    lacking = lacking_on_nodes(work, probe)
    problems = [f"  {name} {problem}" for name, _, problem in lacking if problem]
    if problems:
        raise ConfigError("\n".join(["every node must be able to do the work:", *problems]))
    # One may have been lost meanwhile.
    _refuse(lacking_on_cluster(step) for step in work.wanted_steps())
    return Nodes(probe, frozenset(node for _, node, _ in lacking))


def lacking_here(step: Step) -> str | None:
    """Return why this machine has no GPUs for a worker of a step, None where it has."""
    present = count_gpus() if step.resources.num_gpus else 0
    return _no_room(step, f"this machine has {present} GPU(s)") if step.resources.num_gpus > present else None


def lacking_on_cluster(step: Step) -> str | None:
    """Return why no node has room for a worker of a step, None where one has. A Ray session must be up."""
    from onegen.executor.nodes import alive_nodes, describe_rooms, has_place

    if has_place(step.resources):
        return None
    return _no_room(step, f"no node of the cluster has them ({describe_rooms(alive_nodes(), step.resources)})")


def lacking_on_nodes(work: Work, probe: "NodeProbe") -> list[tuple[str, str, str | None]]:
    """Return name, id and what it cannot do (None: it can do all) of each node with room for a worker of some step.

    A Ray session must be up.
    """
    from onegen.executor.nodes import alive_nodes, ask_each, node_name, places

    steps = work.wanted_steps()
    nodes = [node for node in alive_nodes() if any(places(node, step.resources) for step in steps)]
    answers: dict[str, str | None] = {}
    for stages, group in _by_stages(probe, nodes, steps):
        answers |= ask_each(replace(probe, stages=stages), group)
    return [
        (node_name(node, nodes), node["NodeID"], answers[node["NodeID"]] or probe.confirm(node["NodeID"]))
        for node in nodes
        if node["NodeID"] in answers
    ]


def _by_stages(
    probe: "NodeProbe", nodes: Iterable[Mapping[str, Any]], steps: Iterable[Step]
) -> list[tuple[tuple[StageConfig, ...], list[Mapping[str, Any]]]]:
    """Return nodes by the stages that they have room for: a node without a GPU needs no weights of who asks for one."""
    from onegen.executor.nodes import places

    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for node in nodes:
        names = tuple(step.name for step in steps if places(node, step.resources))
        groups.setdefault(names, []).append(node)
    return [(tuple(s for s in probe.stages if s.name in names), group) for names, group in groups.items()]


def _refuse(problems: Iterable[str | None]) -> None:
    for problem in problems:
        if problem is not None:
            raise ConfigError(problem)


@cache
def versions() -> dict[str, str]:
    """Return the versions that must be the same on every node.

    The onegen that is imported may have come with the job; the one that is installed, if any, brought its libraries.
    """
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    with contextlib.suppress(metadata.PackageNotFoundError):
        found["onegen"] = metadata.version("onegen")
    found.setdefault("onegen", onegen.__version__)
    found["code of onegen"] = _code_digest()
    return found


def _code_digest() -> str:
    """Return a digest of the package's own modules."""
    root = Path(onegen.__file__).parent
    files = {str(path.relative_to(root)): sha256(path.read_bytes()) for path in root.rglob("*.py")}
    return sha256("\n".join(f"{name} {files[name]}" for name in sorted(files)).encode())[:12]


def node_probe(work: Work) -> "NodeProbe":
    """Return what the nodes are asked that shall do some work."""
    root = work.source.root if work.reads_source else None
    wanted = {step.name for step in work.wanted_steps()}
    # This machine has them, or the steps could not have been made.
    is_here = work.options.address is None
    stages = () if is_here else tuple(stage for stage in work.recipe.stages if stage.name in wanted)
    return NodeProbe(work.dataset.store, root, versions(), uuid.uuid4().hex, stages, os.getcwd())


@dataclass(frozen=True)
class NodeProbe:
    """What each node is asked, by its id: our versions, to see the source, to write into OUT, to have weights.

    `source_root` is None where nothing will be read from the source; `stages` are those whose annotators the node must
    be able to make, from the `folder` where the build was started.
    """

    store: Store
    source_root: str | None
    versions: Mapping[str, str]
    mark: str
    stages: tuple[StageConfig, ...] = ()
    folder: str = "."

    def __call__(self, node: str) -> str | None:
        """Return what this node cannot do, None where it can do all."""
        here = versions()
        for name, version in self.versions.items():
            if here[name] != version:
                return f"has {name} {here[name]}, the driver {version}. Install the same."
        try:
            if self.source_root is not None and not _exists(self.source_root):
                return f"cannot see the source {self.source_root}. Put it on storage that all nodes share."
            self.store.write(self.file(node), self.mark.encode())
        except OSError as error:
            return f"cannot read the source or write into {self.store.url}: {error}."
        # Ray starts its processes elsewhere, and a recipe may name weights by a path.
        with contextlib.chdir(self.folder) if os.path.isdir(self.folder) else contextlib.nullcontext():
            return self._lacking()

    def confirm(self, node: str) -> str | None:
        """Return, for the driver, that a node's file is not in OUT; None, and delete it, where it is."""
        name = self.file(node)
        if self.store.exists(name):
            self.store.delete(name)
            return None
        return f"has a folder {self.store.url} of its own. Choose an OUT on storage that all nodes share."

    def file(self, node: str) -> str:
        """Return the name of the file that a node writes."""
        return f"{TEMPORARY}/{uuid.uuid5(uuid.UUID(self.mark), node).hex}"

    def _lacking(self) -> str | None:
        for stage in self.stages:
            for name, options in stage.annotators.items():
                try:
                    make_annotator(name, options)
                except ConfigError as error:
                    return f"lacks what annotator {name} needs: {error}"
        return None


def _exists(url: str) -> bool:
    fs, path = fsspec.url_to_fs(url)
    return bool(fs.exists(path))


def _no_room(step: Step, room: str) -> str:
    return (
        f"step {step.name!r} asks for {step.resources} a worker, and {room}. "
        f"Ask for less (num_gpus: 0 computes on the CPU), or build with --address of a cluster that has them."
    )
