"""The nodes of a Ray cluster: what each has room for, and the same question put to each of them. Imported with Ray."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from onegen.sample import Resources

ANSWER_SECONDS = 120.0


class Question(Protocol):
    """What a node must be able to do. Picklable: it is asked there, by the node's id."""

    def __call__(self, node: str) -> str | None:
        """Return, on the node, what it cannot do; None where it can do all."""
        ...

    def confirm(self, node: str) -> str | None:
        """Return, where the driver is, what of the node's answer does not show here; None where all does."""
        ...


def alive_nodes() -> list[Mapping[str, Any]]:
    """Return what Ray says of the nodes that are up."""
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def node_name(node: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> str:
    """Return what a node is called among `nodes`: its address, with its port where another has the same."""
    address: str = node["NodeManagerAddress"]
    has_twin = sum(other["NodeManagerAddress"] == address for other in nodes) > 1
    return f"{address}:{node['NodeManagerPort']}" if has_twin else address


def name_of(node_id: str) -> str:
    """Return what the node of an id is called among all that Ray has known."""
    nodes = list(ray.nodes())  # type: ignore[no-untyped-call]
    return next((node_name(node, nodes) for node in nodes if node["NodeID"] == node_id), node_id)


def has_place(resources: Resources) -> bool:
    """Say whether a node of the cluster, were it idle, would have what one worker asks for."""
    return any(places(node, resources) for node in alive_nodes())


def places(node: Mapping[str, Any], resources: Resources) -> int:
    """Return how many workers a node would have room for, were it idle; who asks for nothing gets one a core."""
    present, asked = node["Resources"], resources.by_name()
    # Shares of a GPU that are thirds do not add up to one.
    counts = [int(present.get(name, 0.0) / amount + 1e-6) for name, amount in asked.items()]
    return min(counts) if counts else max(1, int(present.get("CPU", 0)))


def describe_rooms(nodes: Iterable[Mapping[str, Any]], resources: Resources) -> str:
    """Return what each node has of what a worker asks for, for people."""
    names = dict.fromkeys(["CPU", "GPU", "memory", *resources.by_name()])
    return "; ".join(f"{node['NodeManagerAddress']}: {_described(node['Resources'], names)}" for node in nodes)


def _described(present: Mapping[str, float], names: Iterable[str]) -> str:
    words = {"CPU": "{:g} CPU(s)", "GPU": "{:g} GPU(s)", "memory": "{:,.0f} bytes"}
    return ", ".join(words.get(name, "{:g} " + name).format(present.get(name, 0.0)) for name in names)


def ask_each(
    question: Callable[[str], str | None], nodes: Sequence[Mapping[str, Any]] | None = None
) -> dict[str, str | None]:
    """Return the answer of each node, by its id, to a picklable question, which is given that id.

    A node that cannot answer, because its Python cannot run the question or it does not answer in time, is answered
    for by what went wrong; one that is lost meanwhile is left out.
    """
    ask = ray.remote(num_cpus=0, max_retries=0)(_put)
    answers: dict[str, Any] = {}
    for node in alive_nodes() if nodes is None else nodes:
        place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        answers[node["NodeID"]] = ask.options(scheduling_strategy=place).remote(question, node["NodeID"])
    answered = {node: _answer(reference) for node, reference in answers.items()}
    there = {node["NodeID"] for node in alive_nodes()}
    return {node: answer for node, answer in answered.items() if node in there}


def _put(question: Callable[[str], str | None], node: str) -> str | None:
    return question(node)


def _answer(reference: Any) -> Any:
    try:
        return ray.get(reference, timeout=ANSWER_SECONDS)
    except GetTimeoutError:
        return f"cannot answer within {ANSWER_SECONDS:g} s"
    except RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"cannot run onegen: {lines[-1] if lines else type(error).__name__}"
