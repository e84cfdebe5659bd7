"""Text as the network sees it: real tokens of all prompts in one row, the pooled text, and (cached) keys and values.

`NextDiT.encode_text` makes a `TextContext` once; the sampler passes it back at each of its steps, so that nothing about
the text is computed twice and nothing is hidden inside the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from onegen.errors import ConfigError


@dataclass(frozen=True, eq=False)
class TextContext:
    """The text side of a batch of S samples.

    `lengths` holds the number of real tokens of each sample (0 is allowed: such a sample attends to no text). `pooled`
    (S,A) is the embedded mean of the text states. `states` (T,Y) are the states of the T real tokens of all samples, in
    order. `keys` and `values` hold (T, KV, head_dim) per block; where they are empty each block makes them of `states`.
    """

    lengths: tuple[int, ...]
    pooled: torch.Tensor
    states: torch.Tensor
    keys: tuple[torch.Tensor, ...] = ()
    values: tuple[torch.Tensor, ...] = ()

    def select(self, samples: Sequence[int]) -> "TextContext":
        """Return the context of the named samples, in that order.

        A sample may be named several times: for several outputs of one prompt, or for guidance.
        """
        offsets = [sum(self.lengths[:s]) for s in range(len(self.lengths))]
        index = [offsets[s] + i for s in samples for i in range(self.lengths[s])]
        tokens = torch.tensor(index, dtype=torch.int64, device=self.states.device)
        return TextContext(
            lengths=tuple(self.lengths[s] for s in samples),
            pooled=self.pooled[list(samples)],
            states=self.states[tokens],
            keys=tuple(key[tokens] for key in self.keys),
            values=tuple(value[tokens] for value in self.values),
        )


def pack_text(states: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, tuple[int, ...]]:
    """Return the states (T,Y) of the real tokens of padded text (S,M,Y), and how many each sample has.

    `mask` (S,M) is nonzero at real tokens (padding may stand anywhere); None means all are real. Keep the mask on the
    CPU to spare the device a synchronisation. Raises ConfigError when the shapes disagree.
    """
    if states.ndim != 3 or (mask is not None and mask.shape != states.shape[:2]):
        got = f"{tuple(states.shape)} and {None if mask is None else tuple(mask.shape)}"
        raise ConfigError(f"text states must be (S,M,Y) with a mask (S,M), got {got}.")
    if mask is None:
        return states.flatten(0, 1), (states.shape[1],) * states.shape[0]
    real = mask.to("cpu") != 0
    tokens = real.flatten().nonzero().squeeze(1).to(states.device)
    return states.flatten(0, 1)[tokens], tuple(int(count) for count in real.sum(1))
