"""The averaged weights as a model folder of the released layout, which `onegen sample` and the pipeline open."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from safetensors import SafetensorError
from torch import nn

from onegen.config.training import TrainConfig
from onegen.errors import Stopped
from onegen.sampler.folder import write_parts
from onegen.sampler.pipeline_onediffusion import OneDiffusionPipeline
from onegen.trainer.ema import Ema
from onegen.trainer.encoding import Encoders
from onegen.trainer.repa import NAME as REPA
from onegen.trainer.world import World

MODEL = "model"
ADAPTER = "lora"


def make_pipeline(network: nn.Module, encoders: Encoders, config: TrainConfig) -> OneDiffusionPipeline:
    """Return a pipeline around a network; its scheduler has the shift that the recipe samples with."""
    shift = config.sampling_shift if config.sampling_shift is not None else config.noise.shift
    pipe = OneDiffusionPipeline(
        transformer=network,  # type: ignore[arg-type]
        vae=encoders.codec,
        text_encoder=encoders.text_encoder,
        tokenizer=encoders.tokenizer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=shift, use_dynamic_shifting=False),
    )
    pipe.set_progress_bar_config(disable=True)  # type: ignore[no-untyped-call]
    return pipe


def export(run: Path, network: nn.Module, ema: Ema, encoders: Encoders, config: TrainConfig, world: World) -> Path:
    """Write RUN/model from the averaged weights, in place of the one before, and return it.

    Trained additions go to RUN/lora in PEFT's layout, and into the weights of RUN/model. Raises Stopped where the disk
    does not take them: the model before stays.
    """
    target = run / MODEL
    with ema.swapped():
        weights = _whole(network)
    if world.is_first:
        try:
            _write(run, target, network, weights, encoders, config)
        except (OSError, SafetensorError) as error:
            raise Stopped(f"{target} could not be written: {error}. Make room; the same command goes on.") from error
    world.wait()
    return target


def _write(
    run: Path,
    target: Path,
    network: nn.Module,
    weights: dict[str, torch.Tensor],
    encoders: Encoders,
    config: TrainConfig,
) -> None:
    """Write the model beside its name, and put it in the place of the one before."""
    part, before = run / f".part-{MODEL}", run / f".old-{MODEL}"
    for left in (part, before):
        shutil.rmtree(left, ignore_errors=True)
    if config.lora is not None:
        from onegen.trainer.lora import save_adapter

        save_adapter(run / ADAPTER, weights, config.lora)
    write_parts(part, make_pipeline(_copy(network, weights, config), encoders, config).components)
    if target.exists():
        os.replace(target, before)
    os.replace(part, target)
    shutil.rmtree(before, ignore_errors=True)


@torch.no_grad()
def _whole(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return all weights on the CPU, gathered from the ranks that share them."""
    gathered: dict[str, torch.Tensor] = {}
    for name, weight in network.state_dict().items():
        full = weight.full_tensor() if hasattr(weight, "full_tensor") else weight
        gathered[name] = full.detach().cpu().clone()
    return gathered


def _copy(network: Any, weights: dict[str, torch.Tensor], config: TrainConfig) -> nn.Module:
    """Return a network of its own with these weights, additions merged."""
    from onegen.model.nextdit import NextDiT

    if config.lora is not None:
        from onegen.trainer.lora import merged

        weights = merged(weights, config.lora)
    # What was trained beside the network stays with the run.
    weights = {name: weight for name, weight in weights.items() if not name.startswith(f"{REPA}.")}
    own: nn.Module = NextDiT.from_config(network.config)  # type: ignore[assignment]
    own.load_state_dict(weights)
    return own.eval()
