"""Small networks with every path active, and the reference's view of them."""

import numpy as np
import torch

from onegen.model.nextdit import NextDiT
from tests.model.reference import Shape

TEXT_WIDTH = 40


def random_network(seed=0, **options):
    """Return a small network whose zero-initialised weights are drawn too, so that every path shows in the output."""
    sizes = {
        "hidden_size": 96,
        "depth": 2,
        "num_heads": 8,
        "num_kv_heads": 2,
        "in_channels": 4,
        "caption_channels": TEXT_WIDTH,
    }
    network = NextDiT(**{**sizes, "multiple_of": 32, "attn_softcap": None, **options})
    generator = torch.Generator().manual_seed(seed)
    for name, weight in network.named_parameters():
        draw = torch.randn(weight.shape, generator=generator)
        if name.endswith("gate"):
            scale, mean = 1.0, 0.0
        elif weight.ndim == 1:
            scale, mean = 0.2, float(name.endswith("weight"))
        else:
            scale, mean = weight.shape[1] ** -0.5, 0.0
        weight.data.copy_(mean + scale * draw)
    return network.eval()


def enlarge_queries(network, factor):
    """Make the scores of self-attention large, so that a softcap of 30 matters."""
    for block in network.layers:
        block.attention.q_norm.weight.data.mul_(factor)
        block.attention.q_norm.bias.data.mul_(factor)
    return network


def reference_of(network):
    """Return the float64 weights and the shape that `tests.model.reference` takes."""
    config = network.config
    weights = {name: weight.double().numpy() for name, weight in network.state_dict().items()}
    shape = Shape(
        num_heads=config.num_heads,
        num_kv_heads=config.num_kv_heads or config.num_heads,
        norm_eps=config.norm_eps,
        qk_norm=config.qk_norm,
        pred_sigma=config.pred_sigma,
        attn_softcap=config.attn_softcap,
    )
    return weights, shape


def random_text(batch, length=7, seed=1):
    """Return text states (B,M,Y) and a mask with padding at the end of each row but the last."""
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(batch, length, TEXT_WIDTH, generator=generator)
    mask = torch.ones(batch, length, dtype=torch.int64)
    for row in range(batch - 1):
        mask[row, 3 + row % 3 :] = 0
    return states, mask


def distance(found, wanted):
    """Return ||a - b|| / ||b||."""
    found, wanted = (np.asarray(t.detach().double() if isinstance(t, torch.Tensor) else t) for t in (found, wanted))
    assert found.shape == wanted.shape
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
