"""Low-rank additions to a network's linear layers, in PEFT's layout: trained alone, saved, loaded, merged."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from onegen.config.training import LoraConfig
from onegen.errors import ConfigError

_NAME = "default"
_BASE = ".base_layer"


def add_lora(network: nn.Module, config: LoraConfig) -> nn.Module:
    """Add additions, which begin as none, in place, and freeze all else; raises ConfigError for unknown layers."""
    from peft import inject_adapter_in_model

    present = {name.rpartition(".")[2] for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    unknown = sorted(set(config.targets) - present)
    if unknown:
        raise ConfigError(
            f"lora.targets must be linear layers of the network, got {unknown[0]!r}; there are "
            f"{', '.join(sorted(name for name in present if not name.isdigit()))}."
        )
    inject_adapter_in_model(_peft_config(config), network, adapter_name=_NAME)
    for name, weight in network.named_parameters():
        weight.requires_grad_("lora_" in name)
    return network


def _peft_config(config: LoraConfig) -> Any:
    from peft import LoraConfig as PeftLora

    made: Any = PeftLora
    return made(r=config.rank, lora_alpha=config.alpha, target_modules=list(config.targets), lora_dropout=0.0)


def save_adapter(folder: Path, weights: Mapping[str, torch.Tensor], config: LoraConfig) -> None:
    """Write adapter_config.json and adapter_model.safetensors as PEFT reads them."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    own = {
        f"base_model.model.{name.replace(f'.{_NAME}', '')}": weight.contiguous()
        for name, weight in weights.items()
        if "lora_" in name
    }
    save_file(own, str(folder / "adapter_model.safetensors"))
    _peft_config(config).save_pretrained(str(folder))


def load_adapter(folder: Path, network: nn.Module) -> nn.Module:
    """Merge the additions in a folder into a plain network, in place; raises ConfigError where they do not fit."""
    from peft import PeftConfig
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config: Any = PeftConfig.from_pretrained(str(folder))
        found = load_file(str(folder / "adapter_model.safetensors"))
    except (OSError, ValueError, SafetensorError) as error:
        raise ConfigError(f"lora must be a folder in PEFT's layout, got {folder}: {error}.") from error
    weights = network.state_dict()
    for name, down in found.items():
        if not name.endswith(".lora_A.weight"):
            continue
        layer = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        up = found[name.replace("lora_A", "lora_B")]
        if f"{layer}.weight" not in weights or weights[f"{layer}.weight"].shape != (up.shape[0], down.shape[1]):
            raise ConfigError(f"lora must fit the network, got {layer} in {folder}, which it has not in that shape.")
        weights[f"{layer}.weight"] += config.lora_alpha / config.r * (up @ down)
    return network


def merged(weights: Mapping[str, torch.Tensor], config: LoraConfig) -> dict[str, torch.Tensor]:
    """Return the weights of a network without additions: what was added to each layer is in its weight."""
    plain = {name.replace(_BASE, ""): weight for name, weight in weights.items() if "lora_" not in name}
    for name, down in weights.items():
        if ".lora_A." not in name:
            continue
        layer = name.partition(".lora_A.")[0]
        up = weights[name.replace("lora_A", "lora_B")]
        plain[f"{layer}.weight"] = plain[f"{layer}.weight"] + config.alpha / config.rank * (up @ down)
    return plain
