"""What is done to a network from outside: checkpointed activations, compiled blocks, ranks that share it."""

import functools
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from onegen.config.training import TrainConfig
from onegen.errors import ConfigError
from onegen.trainer.world import World


def parallelize(network: nn.Module, config: TrainConfig, world: World) -> nn.Module:
    """Return what is called in training; `network` itself keeps its methods and holds the weights.

    Weights stay float32; bf16 is autocast's. Raises ConfigError for what does not go together.
    """
    own: Any = network
    if config.checkpointing:
        own.gradient_checkpointing = True
        own._gradient_checkpointing_func = functools.partial(checkpoint, use_reentrant=False)
    if config.compile:
        for block in own.layers:
            block.compile()
    if world.size == 1:
        return network
    if config.parallel == "ddp":
        ids = [world.device.index] if world.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=ids)
    if config.optimizer.name == "muon":
        raise ConfigError("optimizer.name must be adamw with parallel: fsdp2, got 'muon', which needs whole matrices.")
    return _sharded(own, world)


def _sharded(network: Any, world: World) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(world.device.type, (world.size,))
    # Times stay float32 whatever the rest is cast to.
    policy = MixedPrecisionPolicy(cast_forward_inputs=False)
    for block in network.layers:
        fully_shard(block, mesh=mesh, mp_policy=policy)
        # Samplers encode a text once for all steps: outside of a forward pass, weights must be gathered for that too.
        register_fsdp_forward_method(block, "text_keys_values")
    sharded: nn.Module = fully_shard(network, mesh=mesh, mp_policy=policy)
    register_fsdp_forward_method(sharded, "encode_text")
    return sharded


def without_sync(called: nn.Module, is_last: bool) -> AbstractContextManager[Any]:
    """Return the context of a bin: gradients of all but a step's last one stay on their rank until then."""
    if isinstance(called, DistributedDataParallel) and not is_last:
        return called.no_sync()
    return nullcontext()


def autocast(config: TrainConfig, world: World) -> AbstractContextManager[Any]:
    """Return the context that computes in the precision of a recipe."""
    return torch.autocast(world.device.type, torch.bfloat16) if config.precision == "bf16" else nullcontext()
