"""Recipes of training runs: YAML to typed records. docs/training.md; `pipelines/train/*.yaml` are examples.

What stands here changes the run; where it runs (ranks, workers, device) is said on the command line and changes no more
than a stated tolerance.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from onegen.config.parse import Config, parse, read_mapping
from onegen.config.shipped import shipped
from onegen.errors import ConfigError, nearest
from onegen.tasks.table import TASKS

PRESET_NAMES = ("tiny", "small", "base", "large", "released")


class NetworkConfig(Config):
    """The network; see `onegen.model.nextdit.NextDiT`. Sizes replace those of the preset."""

    preset: Literal["tiny", "small", "base", "large", "released"] = Field("tiny", description="sizes to start from")
    hidden_size: int | None = Field(None, ge=6, description="width; null: the preset's")
    depth: int | None = Field(None, ge=1, description="blocks; null: the preset's")
    num_heads: int | None = Field(None, ge=1, description="query heads; null: the preset's")
    num_kv_heads: int | None = Field(None, ge=1, description="key heads; null: the preset's")
    multiple_of: int = Field(256, ge=1, description="what the feed-forward width is rounded up to")
    attn_softcap: float | None = Field(None, gt=0, description="cap of attention scores; null: none")
    prediction: Literal["velocity", "data"] = Field("velocity", description="what the network answers: eps - x, or x")


class EncodersConfig(Config):
    """Image codec and text encoder, frozen; see `onegen.model.encoders`."""

    codec: Literal["pixel-shuffle", "sd3-vae"] = Field("pixel-shuffle", description="what pictures become latents by")
    codec_source: str = Field("", description="folder or hub id of sd3-vae")
    downscale: int = Field(8, ge=1, description="of pixel-shuffle: pixels a side of one latent pixel")
    text: Literal["minilm", "t5"] = Field("minilm", description="what prompts become states by")
    text_source: str = Field("", description="folder or hub id of t5")


class DataConfig(Config):
    """What is read, beside the datasets themselves; see `onegen.loader`."""

    mixture: Literal["paper"] | dict[str, float] = Field(
        {}, description="weights of tasks; paper: equal budget for the super-categories; {}: all that samples serve"
    )
    resolution: int = Field(512, ge=8, description="base of the aspect-ratio buckets, pixels")
    resolutions: dict[str, int] = Field({}, description="another base for single tasks")
    crowded: int | None = Field(None, ge=8, description="another base for examples of more than three pictures")
    tokens: int = Field(16_384, ge=1, description="most tokens of a bin: what the network sees at once")
    bins: int = Field(8, ge=1, description="bins of an optimiser step, over all ranks")
    text_dropout: float = Field(0.1, ge=0, le=1, description="share of prompts that are the task's token alone")
    condition_dropout: float = Field(0.0, ge=0, le=1, description="share of two-view examples that lose the second")
    captions: list[str] = Field([], description="columns of captions of which one is drawn; []: caption, else original")
    validation: float = Field(0.01, ge=0, lt=1, description="share of the keys that are never trained on")
    max_bad: float = Field(0.01, ge=0, le=1, description="share of bad samples that is skipped before the run ends")


class NoiseConfig(Config):
    """How noise levels are drawn, a view each (paper: logit-normal of 0 and 1, shift 3)."""

    density: Literal["logit_normal", "uniform"] = Field("logit_normal", description="density of sigma before the shift")
    mean: float = Field(0.0, description="of the logit")
    std: float = Field(1.0, gt=0, description="of the logit")
    shift: float = Field(3.0, gt=0, description="3: the paper's; above 1 more noise")
    clean: float = Field(0.0, ge=0, le=1, description="share of examples whose conditions are clean and bear no loss")
    clean_sigma: float = Field(0.4, ge=0, lt=1, description="highest level that the network is told of such conditions")
    images: float | None = Field(
        None, gt=0, lt=1, description="share of them that generate the image; null: as often as each other view"
    )
    wordless: float = Field(0.0, ge=0, le=1, description="share of prompts dropped where a clean image is given")


class OptimizerConfig(Config):
    """How weights move."""

    name: Literal["adamw", "muon"] = Field("adamw", description="muon: for matrices of the blocks, AdamW for the rest")
    lr: float = Field(5e-4, gt=0, description="paper: 5e-4")
    muon_lr: float = Field(0.02, gt=0, description="of the matrices, with muon")
    betas: tuple[float, float] = Field((0.9, 0.95), description="of AdamW")
    weight_decay: float = Field(0.0, ge=0, description="of matrices")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    warmup: int = Field(1000, ge=0, description="steps in which the rate grows from 0")
    schedule: Literal["constant", "wsd", "cosine"] = Field("constant", description="wsd: constant, then linear to 0")
    decay: float = Field(0.2, gt=0, le=1, description="share of the steps in which wsd falls")


class EmaConfig(Config):
    """The average of the weights that is validated and exported."""

    decay: float = Field(0.9999, ge=0, lt=1, description="paper: 0.9999")
    ramp: bool = Field(False, description="begin with a short memory: (1 + n) / (10 + n) as long as that is less")


class LoraConfig(Config):
    """Train low-rank additions alone (PEFT's layout), on the weights of `start`."""

    rank: int = Field(16, ge=1, description="rank of the additions")
    alpha: float = Field(16.0, gt=0, description="their scale is alpha / rank")
    targets: list[str] = Field(["wq", "wk", "wv", "wo"], min_length=1, description="linear layers they are added to")


class RepaConfig(Config):
    """Align tokens of images with the features of a frozen network (arXiv 2410.06940); `onegen.trainer.repa`."""

    block: int = Field(ge=1, description="block behind which tokens are aligned, from 1")
    weight: float = Field(0.5, gt=0, description="of the alignment beside the loss of the velocity")
    until: int = Field(ge=1, description="step from which it is off: late in training it harms")


class TreadConfig(Config):
    """Send tokens of single pictures past the middle blocks (arXiv 2501.04765); see `onegen.trainer.tread`."""

    share: float = Field(0.5, gt=0, lt=1, description="share of the tokens that go past")
    first: int = Field(2, ge=2, description="first block they go past, from 1")
    last: int = Field(ge=2, description="last block they go past")


class TrainConfig(Config):
    """A training run. docs/training.md tells of each field."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="what the run is called")
    seed: int = Field(0, description="of weights, order and noise")
    steps: int = Field(ge=1, description="optimiser steps")
    start: str | None = Field(None, description="model folder or hub id whose network training starts from")
    network: NetworkConfig = Field(NetworkConfig(), description="the network; with `start` it must fit that one")
    encoders: EncodersConfig = Field(EncodersConfig(), description="image codec and text encoder")
    data: DataConfig = Field(DataConfig(), description="what is read")
    noise: NoiseConfig = Field(NoiseConfig(), description="noise levels")
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description="how weights move")
    ema: EmaConfig = Field(EmaConfig(), description="average of the weights")
    lora: LoraConfig | None = Field(None, description="train additions alone; null: all weights")
    repa: RepaConfig | None = Field(None, description="align tokens with another network's features; null: do not")
    tread: TreadConfig | None = Field(None, description="route tokens past the middle blocks; null: do not")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: autocast; weights stay fp32")
    checkpointing: bool = Field(False, description="compute activations of each block again in the backward pass")
    compile: bool = Field(False, description="torch.compile of each block")
    parallel: Literal["ddp", "fsdp2"] = Field("ddp", description="how several ranks share the network")
    sampling_shift: float | None = Field(None, gt=0, description="of the exported scheduler; null: noise.shift")
    log_every: int = Field(10, ge=1, description="steps between lines of metrics")
    checkpoint_every: int = Field(1000, ge=1, description="steps between checkpoints; the last step has one too")
    keep: int = Field(3, ge=1, description="checkpoints that are kept")
    validate_every: int = Field(1000, ge=1, description="steps between validations")
    validation_examples: int = Field(64, ge=0, description="examples of the loss on fixed noise; 0: no validation")
    grid_examples: int = Field(4, ge=0, description="examples a task in the grids of samples; 0: no grids")
    grid_steps: int = Field(20, ge=1, description="solver steps of those samples")

    @field_validator("data")
    @classmethod
    def _tasks_are_known(cls, value: DataConfig) -> DataConfig:
        for name in (*(value.mixture if isinstance(value.mixture, dict) else ()), *value.resolutions):
            if name not in TASKS:
                raise ValueError(f"a task must be one of the table's, got {name!r}; {nearest(name, list(TASKS))}")
        return value

    @model_validator(mode="after")
    def _lora_has_a_start(self) -> "TrainConfig":
        if self.lora is not None and self.start is None:
            raise ValueError("lora must stand with `start`, the model it is added to, got none")
        if self.lora is not None and self.optimizer.name == "muon":
            raise ValueError("optimizer.name must be adamw with lora, got 'muon'")
        return self

    @model_validator(mode="after")
    def _tricks_go_together(self) -> "TrainConfig":
        if self.tread is not None and self.tread.last < self.tread.first:
            raise ValueError(f"tread.last must be {self.tread.first} (tread.first) or more, got {self.tread.last}")
        if self.compile and (self.repa or self.tread):
            raise ValueError("compile must be false with repa or tread, which reach into blocks, got true")
        if self.lora is not None and (self.repa or self.tread):
            raise ValueError("lora must stand without repa and tread, which are for training from scratch, got both")
        if self.repa and self.tread and self.tread.first <= self.repa.block < self.tread.last:
            raise ValueError(
                f"repa.block must be before or behind the blocks that tread routes past, {self.tread.first} to "
                f"{self.tread.last}, got {self.repa.block}"
            )
        return self


def load_training(path: str | Path) -> TrainConfig:
    """Return the training recipe in a YAML file; raises ConfigError naming file, key and the nearest valid key."""
    return parse(TrainConfig, read_mapping(path, "training recipe", "name, steps, network and data"), str(path))


def training_path(name: str) -> Path:
    """Return the file that a name means: a path, or a training recipe that ships. Raises ConfigError."""
    path = Path(name)
    if path.is_file() or path.suffix or len(path.parts) > 1:
        return path
    known = {file.stem: file for file in sorted((shipped() / "train").glob("*.yaml"))}
    if name not in known:
        raise ConfigError(
            f"training recipe must be a YAML file or one that ships, got {name!r}; {nearest(name, list(known))}"
        )
    return known[name]
