"""Before a build begins: whether there is room for its workers, and whether every node of a cluster can do its work.

A node that cannot see the source would fail every row, and one that writes elsewhere would lose every
shard. docs/build.md.
"""

import platform
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata

import fsspec

from onegen.build.steps import Step
from onegen.build.work import Work
from onegen.errors import ConfigError
from onegen.executor.machine import count_gpus
from onegen.sample import Resources
from onegen.storage.local import TEMPORARY
from onegen.storage.store import Store


def check_machine(work: Work) -> None:
    """Raise ConfigError for a step that asks for GPUs which this machine, where it is to run, does not have."""
    if work.options.address is None:
        _refuse(lacking_here(step) for step in work.wanted_steps())


def check_cluster(work: Work) -> None:
    """Raise ConfigError for workers no node has room for, and naming a node that cannot read the source or write OUT.

    Local workers need no such check; for others a Ray session must be up.
    """
    if work.options.executor == "local":
        return
    _refuse(lacking_on_cluster(step) for step in work.wanted_steps())
    problems = {address: lacking for address, lacking in lacking_on_nodes(work).items() if lacking}
    if problems:
        lines = [f"  {address} {problem}" for address, problem in problems.items()]
        raise ConfigError("\n".join(["every node must be able to do the work:", *lines]))


def lacking_here(step: Step) -> str | None:
    """Return why this machine has no GPUs for a worker of a step, None where it has."""
    present = count_gpus() if step.resources.num_gpus else 0
    return _no_room(step, f"this machine has {present} GPU(s)") if step.resources.num_gpus > present else None


def lacking_on_cluster(step: Step) -> str | None:
    """Return why no node has room for a worker of a step, None where one has. A Ray session must be up."""
    from onegen.executor.nodes import alive_nodes, has_place

    if has_place(step.resources):
        return None
    rooms = "; ".join(_room(node["NodeManagerAddress"], node["Resources"]) for node in alive_nodes())
    return _no_room(step, f"no node of the cluster has them ({rooms})")


def lacking_on_nodes(work: Work) -> dict[str, str | None]:
    """Return by name what each node cannot do: read the source, write OUT; None for one that can.

    A Ray session must be up.
    """
    from onegen.executor.nodes import ask_each

    root = work.source.root if work.reads_source else None
    probe = NodeProbe(work.dataset.store, root, versions(), uuid.uuid4().hex)
    answers = ask_each(probe)
    unseen = _unseen(probe)
    return {address: answer or unseen.get(address) for address, answer in answers.items()}


def _refuse(problems: Iterable[str | None]) -> None:
    for problem in problems:
        if problem is not None:
            raise ConfigError(problem)


def versions() -> dict[str, str]:
    """Return the versions that must be the same on every node."""
    return {"Python": ".".join(platform.python_version_tuple()[:2]), "onegen": metadata.version("onegen")}


@dataclass(frozen=True)
class NodeProbe:
    """What each node is asked, by its id: to have our versions, to see the source, to write a file into OUT.

    `source_root` is None where nothing will be read from the source.
    """

    store: Store
    source_root: str | None
    versions: dict[str, str]
    mark: str

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
        return None

    def file(self, node: str) -> str:
        """Return the name of the file that a node writes."""
        return f"{TEMPORARY}/{uuid.uuid5(uuid.UUID(self.mark), node).hex}"


def _exists(url: str) -> bool:
    fs, path = fsspec.url_to_fs(url)
    return bool(fs.exists(path))


def _unseen(probe: NodeProbe) -> dict[str, str]:
    """Return the nodes whose files the driver does not see in OUT; delete those it does."""
    from onegen.executor.nodes import alive_nodes, node_name

    unseen: dict[str, str] = {}
    nodes = alive_nodes()
    for node in nodes:
        name = probe.file(node["NodeID"])
        if probe.store.exists(name):
            probe.store.delete(name)
        else:
            unseen[node_name(node, nodes)] = (
                f"has a folder {probe.store.url} of its own. Choose an OUT on storage that all nodes share."
            )
    return unseen


def _no_room(step: Step, room: str) -> str:
    return (
        f"step {step.name!r} asks for {_asked(step.resources)} a worker, and {room}. "
        f"Ask for less (num_gpus: 0 computes on the CPU), or build with --address of a cluster that has them."
    )


def _asked(resources: Resources) -> str:
    asked = [f"{resources.num_cpus:g} CPU(s)", f"{resources.num_gpus:g} GPU(s)"]
    return ", ".join([*asked, *([f"{resources.memory:,} bytes"] if resources.memory else [])])


def _room(address: str, resources: dict[str, float]) -> str:
    cpus, gpus, memory = (resources.get(name, 0.0) for name in ("CPU", "GPU", "memory"))
    return f"{address}: {cpus:g} CPU(s), {gpus:g} GPU(s), {memory:,.0f} bytes"
