"""What a run is made of: the network and the loader that a recipe describes."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch

from onegen.config.training import TrainConfig
from onegen.errors import ConfigError
from onegen.loader.batches import Loader
from onegen.loader.choices import Choices
from onegen.loader.example import Example
from onegen.model.nextdit import NextDiT
from onegen.trainer.batch import PATCH
from onegen.trainer.encoding import Encoders
from onegen.trainer.world import World

_HELD_OUT_EPOCHS = 8
"""Most times that a validation split is gone through for its examples."""


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
        network.register_to_config(input_size=_native(config, encoders.factor))
    else:
        network = fresh_network(config, encoders.channels, encoders.width, encoders.factor)
    if config.lora is not None:
        from onegen.trainer.lora import add_lora

        add_lora(network, config.lora)
    return network.train()


def fresh_network(config: TrainConfig, channels: int, text_width: int, factor: int) -> NextDiT:
    """Return a network of a recipe with fresh weights, for a codec and a text encoder of these sizes."""
    own = config.network
    sizes = {name: getattr(own, name) for name in ("hidden_size", "depth", "num_heads", "num_kv_heads")}
    return NextDiT.from_preset(
        own.preset,
        in_channels=channels,
        caption_channels=text_width,
        attn_softcap=own.attn_softcap,
        multiple_of=own.multiple_of,
        prediction=own.prediction,
        input_size=_native(config, factor),
        **{name: value for name, value in sizes.items() if value is not None},
    )


def _native(config: TrainConfig, factor: int) -> tuple[int, int, int]:
    """Return what a model says of its own size: frames, and sides in latent pixels of what text to image trains on."""
    side = config.data.resolutions.get("text2image", config.data.resolution) // factor
    return 1, side, side


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
    # In the few samples of validation a task that is trained on may have none: there, each serves what it can.
    mixture = own.mixture if split == "train" else {}
    return Loader(list(data), mixture, rank=world.rank, world=world.size, workers=workers, **common)


def held_out(config: TrainConfig, data: Sequence[str], factor: int) -> list[Example]:
    """Return the first examples of the validation split, none where no sample falls into it.

    A small split is gone through several times, and serves other tasks each time: no sample stands twice for one task.
    """
    if not config.validation_examples or not config.data.validation:
        return []
    found: dict[tuple[str, str, str], Example] = {}
    try:
        loader = make_loader(config, data, factor, World(0, 1, torch.device("cpu")), split="validation")
    except ConfigError:
        return []
    tasks = (
        {name for name, weight in config.data.mixture.items() if weight} if config.data.mixture != "paper" else set()
    )
    with loader:
        for bins in itertools.chain.from_iterable(itertools.repeat(loader, _HELD_OUT_EPOCHS)):
            for example in itertools.chain.from_iterable(bins):
                if not tasks or example.task in tasks:
                    found.setdefault((example.dataset, example.key, example.task), example)
            if len(found) >= config.validation_examples:
                break
    return list(found.values())[: config.validation_examples]
