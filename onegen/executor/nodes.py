"""The nodes of a Ray cluster: what each has, and the same question put to each of them. Imported with Ray."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from onegen.sample import Resources

ANSWER_SECONDS = 120.0


def alive_nodes() -> list[Mapping[str, Any]]:
    """Return what Ray says of the nodes that are up."""
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def node_name(node: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> str:
    """Return what a node is called among `nodes`: its address, with its port where another has the same."""
    address: str = node["NodeManagerAddress"]
    has_twin = sum(other["NodeManagerAddress"] == address for other in nodes) > 1
    return f"{address}:{node['NodeManagerPort']}" if has_twin else address


def has_place(resources: Resources) -> bool:
    """Say whether a node of the cluster, were it idle, would have what one worker asks for."""
    wanted = {"CPU": resources.num_cpus, "GPU": resources.num_gpus, "memory": float(resources.memory)}
    return any(
        all(node["Resources"].get(name, 0.0) >= amount for name, amount in wanted.items()) for node in alive_nodes()
    )


def ask_each(question: Callable[[str], str | None]) -> dict[str, str | None]:
    """Return the answer of each node, by its name, to a picklable question, which is given the node's id.

    A node that cannot answer, because its Python cannot run the question or it does not answer in time, is answered
    for by what went wrong.
    """
    ask = ray.remote(num_cpus=0, max_retries=0)(_put)
    answers: dict[str, Any] = {}
    nodes = alive_nodes()
    for node in nodes:
        place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        answers[node_name(node, nodes)] = ask.options(scheduling_strategy=place).remote(question, node["NodeID"])
    return {address: _answer(reference) for address, reference in answers.items()}


def _put(question: Callable[[str], str | None], node: str) -> str | None:
    return question(node)


def _answer(reference: Any) -> str | None:
    try:
        answer: str | None = ray.get(reference, timeout=ANSWER_SECONDS)
    except GetTimeoutError:
        return f"cannot answer within {ANSWER_SECONDS:g} s"
    except RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"cannot run onegen: {lines[-1] if lines else type(error).__name__}"
    return answer
