"""The network against the per-token reference, in one run: CPU-seconds, saved activations, rotary memory.

    python -m benchmarks.network            # about five minutes on one core, 4 GB
    python -m benchmarks.network --quick    # the tiny preset only, about one minute

The reference arm is `tests/model/per_token.py`: plain vectorised torch in float32 on the same weights, with modulation
per token, a dense rotary table, keys repeated to all heads, and padded text whose keys and values are made anew at each
call. The same arm with the padding cut off is printed beside it, so that one can see what the padding alone costs.
`network` takes text states at each call (as in training); `network, text reused` takes the text encoded once (as all
steps of a sampling run do).

Arms run interleaved, one thread; a time is the median of the rounds in CPU-seconds of this process, a ratio the median
over rounds of reference / network. The outputs are compared first: norm-wise relative difference to the reference run
in float64 below 1e-5.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from onegen.model.nextdit import NextDiT
from onegen.model.rope import axis_table
from tests.model.per_token import PerTokenNetwork

ROUNDS = 7
TEXT_LENGTH, REAL_TOKENS = 300, 64


@dataclass(frozen=True)
class Case:
    """A network, a rectangular batch, and the bars of issue 4 for it."""

    name: str
    sizes: dict[str, int]
    batch: int
    views: int
    side: int  # of the latent: image side / 8
    forward_bar: float
    training_bar: float
    memory_bar: float


TINY = {"hidden_size": 384, "depth": 6, "num_heads": 8, "num_kv_heads": 2, "caption_channels": 384}
RELEASED = {"hidden_size": 3840, "depth": 1, "num_heads": 32, "num_kv_heads": 8, "caption_channels": 2048}
CASES = (
    Case("tiny (14 M), 8 samples of 128 px", TINY, 8, 1, 16, 1.3, 1.4, 0.75),
    Case("tiny (14 M), 4 samples of 256 px", TINY, 4, 1, 32, 1.3, 1.4, 0.75),
    Case("tiny (14 M), 2 samples of 3 views of 128 px", TINY, 2, 3, 16, 1.3, 1.4, 0.75),
    Case("released width, 1 block, 2 samples of 256 px", RELEASED, 2, 1, 32, 1.15, 1.2, 0.85),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the tiny preset only")
    parser.add_argument("--case", default="", help="only cases whose name has this in it, for example 'released'")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds per arm, at least 5")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, one thread, median of {arguments.rounds} interleaved rounds, CPU-seconds")
    passed = report_rotary()
    wanted = "tiny" if arguments.quick else arguments.case
    for case in (case for case in CASES if wanted in case.name):
        passed = report(case, max(5, arguments.rounds)) and passed
    print("\nall bars met" if passed else "\nsome bars MISSED")


def report_rotary() -> bool:
    tables = 3 * axis_table(128, 20).nbytes
    dense = 128**3 * 60 * 8
    print(f"\nrotary tables at 128 positions, head 120: {tables / 1024:.0f} KiB (dense: {dense / 2**20:.0f} MiB)")
    return verdict("rotary memory below 1 MB", tables < 1e6, f"{tables / 1e6:.3f} MB")


def report(case: Case, rounds: int) -> bool:
    network, plain, inputs = build(case)
    samples, times, states, mask = inputs
    trimmed = (samples, times, states[:, :REAL_TOKENS], mask[:, :REAL_TOKENS])
    text = network.encode_text(states, mask)
    text = type(text)(text.lengths, *(detached(part) for part in (text.pooled, text.states, text.keys, text.values)))
    print(f"\n{case.name}")
    with torch.no_grad():
        wanted = exact(plain, inputs)
        difference, plain_difference = (
            float((arm(*inputs) - wanted).norm() / wanted.norm()) for arm in (network, plain)
        )
        forward = measure(
            network,
            {
                "per-token": lambda: plain(*inputs),
                "per-token, trimmed text": lambda: plain(*trimmed),
                "network": lambda: network(*inputs),
                "network, text reused": lambda: network(samples, times, text=text),
            },
            rounds,
        )
    found = f"{difference:.1e} (the fp32 reference arm: {plain_difference:.1e})"
    passed = verdict("distance from the reference in float64 < 1e-5", difference < 1e-5, found)
    print_times("forward", forward)
    ratio = speedup(forward, "network, text reused")
    passed &= verdict(f"forward of a sampling step >= {case.forward_bar}x", ratio >= case.forward_bar, f"{ratio:.2f}x")
    training = measure(
        network,
        {
            "per-token": lambda: plain(*inputs).square().mean().backward(),
            "per-token, trimmed text": lambda: plain(*trimmed).square().mean().backward(),
            "network": lambda: network(*inputs).square().mean().backward(),
        },
        rounds,
    )
    print_times("forward + backward", training)
    ratio = speedup(training, "network")
    passed &= verdict(f"forward + backward >= {case.training_bar}x", ratio >= case.training_bar, f"{ratio:.2f}x")
    kept = {
        "per-token": saved_bytes(lambda: plain(*inputs), network),
        "network": saved_bytes(lambda: network(*inputs), network),
    }
    ratio = kept["network"] / kept["per-token"]
    sizes = f"{kept['per-token'] / 2**20:.0f} to {kept['network'] / 2**20:.0f} MiB, {ratio:.2f}x"
    return verdict(f"saved activations <= {case.memory_bar}x", ratio <= case.memory_bar, sizes) and passed


def build(case: Case) -> tuple[NextDiT, PerTokenNetwork, tuple[torch.Tensor, ...]]:
    network = NextDiT(**case.sizes, attn_softcap=None)
    for weight in network.parameters():  # zero-initialised layers drawn too: every path is active
        weight.data.normal_(std=weight.shape[-1] ** -0.5 if weight.ndim > 1 else 0.2).add_(float(weight.ndim == 1))
    tokens = case.side // 2
    plain = PerTokenNetwork(
        dict(network.named_parameters()),
        case.sizes["num_heads"],
        case.sizes["num_kv_heads"],
        (case.views, tokens, tokens),
    )
    samples = torch.randn(case.batch, case.views, 16, case.side, case.side)
    times = 1000 * torch.rand(case.batch, case.views)
    states = torch.randn(case.batch, TEXT_LENGTH, case.sizes["caption_channels"])
    mask = (torch.arange(TEXT_LENGTH) < REAL_TOKENS).expand(case.batch, -1)
    return network, plain, (samples, times, states, mask)


def exact(plain: PerTokenNetwork, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Return the reference's output in float64; in float32 its mean of a token's equal times alone is off by 1e-7."""
    samples, times, states, mask = inputs
    wide = copy.copy(plain)
    wide.weights = {name: weight.double() for name, weight in plain.weights.items()}
    return wide(samples.double(), times.double(), states.double(), mask)


def measure(network: NextDiT, arms: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the CPU-seconds of each arm per round; all arms run once per round, after one round to warm up.

    Gradients are dropped before each arm, untimed, as a training step does.
    """
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds + 1):
        for name, arm in arms.items():
            network.zero_grad(set_to_none=True)
            start = time.process_time()
            arm()
            seconds[name].append(time.process_time() - start)
    return {name: values[1:] for name, values in seconds.items()}


def speedup(seconds: dict[str, list[float]], name: str) -> float:
    """Return the median over rounds of reference / arm: what slows a round down slows both."""
    return statistics.median(plain / arm for plain, arm in zip(seconds["per-token"], seconds[name], strict=True))


def saved_bytes(run: Callable[[], torch.Tensor], network: NextDiT) -> int:
    """Return the bytes autograd keeps between forward and backward: each storage once, weights not counted."""
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    return sum(storage.nbytes() for storage in kept.values())


def detached(part: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor | tuple[torch.Tensor, ...]:
    return part.detach() if isinstance(part, torch.Tensor) else tuple(tensor.detach() for tensor in part)


def print_times(what: str, seconds: dict[str, list[float]]) -> None:
    for name, values in seconds.items():
        print(f"  {what}, {name + ':':<24} {1000 * statistics.median(values):9.1f} ms   {speedup(seconds, name):.2f}x")


def verdict(bar: str, is_met: bool, found: str) -> bool:
    print(f"  [{'met' if is_met else 'MISSED'}] {bar}: {found}")
    return is_met


if __name__ == "__main__":
    main()
