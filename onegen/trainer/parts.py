"""What a run is made of: the network and the loader that a recipe describes."""

from collections.abc import Sequence
from typing import Any

import torch

from onegen.config.training import TrainConfig
from onegen.errors import ConfigError
from onegen.loader.batches import Loader
from onegen.loader.choices import Choices
from onegen.loader.example import Example
from onegen.loader.mixture import Mixture, of_paper
from onegen.model.nextdit import NextDiT
from onegen.trainer.batch import PATCH
from onegen.trainer.encoding import Encoders
from onegen.trainer.world import World


def make_network(config: TrainConfig, encoders: Encoders) -> NextDiT:
    """Return the network of a recipe, fresh or from the model that it starts from; raises ConfigError."""
    own = config.network
    if config.start is not None:
        network = NextDiT.from_pretrained(_transformer_of(config.start))
        have = (network.config.in_channels, network.config.caption_channels, network.config.prediction)
        want = (encoders.channels, encoders.width, own.prediction)
        if have != want:
            raise ConfigError(
                f"start must be a model of these encoders and this prediction, got channels, text width and prediction "
                f"{have} for {want}. Name its codec and text encoder in `encoders`."
            )
    else:
        sizes = {name: getattr(own, name) for name in ("hidden_size", "depth", "num_heads", "num_kv_heads")}
        network = NextDiT.from_preset(
            own.preset,
            in_channels=encoders.channels,
            caption_channels=encoders.width,
            attn_softcap=own.attn_softcap,
            multiple_of=own.multiple_of,
            prediction=own.prediction,
            input_size=(1, *(2 * (config.data.resolution // encoders.factor),) * 2),
            **{name: value for name, value in sizes.items() if value is not None},
        )
    if config.lora is not None:
        from onegen.trainer.lora import add_lora

        add_lora(network, config.lora)
    return network.train()


def _transformer_of(start: str) -> str:
    from onegen.sampler.folder import find_folder

    return str(find_folder(start, None, None, False) / "transformer")


def make_loader(
    config: TrainConfig, data: Sequence[str], factor: int, world: World, workers: int = 0, split: str = "train"
) -> Loader:
    """Return the loader of a recipe on a rank; raises ConfigError as it does."""
    own = config.data
    choices = Choices(
        resolution=own.resolution,
        resolutions=own.resolutions,
        crowded=own.crowded,
        token=factor * PATCH,
        text_dropout=own.text_dropout,
        condition_dropout=own.condition_dropout,
        captions=tuple(own.captions),
    )
    common: dict[str, Any] = {
        "seed": config.seed,
        "tokens": own.tokens,
        "bins": own.bins if split == "train" else 1,
        "choices": choices,
        "validation": own.validation,
        "split": split,
        "max_bad": own.max_bad,
    }
    mixture = Mixture({}) if own.mixture == "paper" else Mixture(dict(own.mixture))
    loader = Loader(list(data), mixture, rank=world.rank, world=world.size, workers=workers, **common)
    if own.mixture == "paper":
        # Which tasks the samples serve is known once they were looked at.
        mixture = of_paper(list(loader.plan().mixture))
        loader.close()
        loader = Loader(list(data), mixture, rank=world.rank, world=world.size, workers=workers, **common)
    return loader


def held_out(config: TrainConfig, data: Sequence[str], factor: int) -> list[Example]:
    """Return the first examples of the validation split, none where no sample falls into it."""
    if not config.validation_examples or not config.data.validation:
        return []
    found: list[Example] = []
    try:
        loader = make_loader(config, data, factor, World(0, 1, torch.device("cpu")), split="validation")
    except ConfigError:
        return []
    with loader:
        for bins in loader:
            found += [example for bin_ in bins for example in bin_]
            if len(found) >= config.validation_examples:
                break
    return found[: config.validation_examples]
