"""A small model of random weights in the released layout, to try every task on a CPU. It makes noise, not pictures.

    python -m onegen.sampler.tiny MODEL                        # the released classes, tiny: T5, SD3-like autoencoder
    python -m onegen.sampler.tiny MODEL --encoders embedded    # lossless codec and MiniLM, once they are fetched

`onegen models fetch minilm` fetches the latter.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from onegen.errors import ConfigError

if TYPE_CHECKING:
    from onegen.sampler.pipeline_onediffusion import OneDiffusionPipeline

SIDE = 64
"""Size in pixels of the model's own images."""


def released_encoders() -> dict[str, Any]:
    """Return a tiny T5 encoder with one token per character, and a tiny 16-channel autoencoder, 8 times down."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    letters = [chr(code) for code in range(33, 127) if chr(code) != "<"]  # T5's own vocabulary has no "<" either
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -1.0)]
    tokenizer = T5Tokenizer(vocab=[*special, *((letter, -2.0) for letter in letters)], extra_ids=0)
    text = T5Config(
        vocab_size=128, d_model=48, d_kv=12, d_ff=96, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        norm_num_groups=4,
        latent_channels=16,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=1.5305,
        shift_factor=0.0609,
        sample_size=SIDE,
    )
    return {"text_encoder": T5EncoderModel(text).eval(), "tokenizer": tokenizer, "vae": vae.eval()}


def embedded_encoders() -> dict[str, Any]:
    """Return the embedded pair with its real weights: the lossless codec and MiniLM."""
    from onegen.model.encoders import load_codec, load_text_encoder

    text_encoder, tokenizer = load_text_encoder("minilm")
    return {"text_encoder": text_encoder, "tokenizer": tokenizer, "vae": load_codec("pixel-shuffle")}


def random_pipeline(encoders: Literal["released", "embedded"] = "released", seed: int = 0) -> "OneDiffusionPipeline":
    """Return a pipeline around a two-block network of random weights, every path of it active."""
    import torch
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

    from onegen.model.encoders import text_width
    from onegen.model.nextdit import NextDiT
    from onegen.sampler.pipeline_onediffusion import OneDiffusionPipeline

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = released_encoders() if encoders == "released" else embedded_encoders()
        network = NextDiT(
            input_size=(1, SIDE // 8, SIDE // 8),
            in_channels=parts["vae"].config.latent_channels,
            hidden_size=96,
            depth=2,
            num_heads=4,
            num_kv_heads=2,
            caption_channels=text_width(parts["text_encoder"]),
        )
        for parameter in network.parameters():
            if not parameter.any():  # training starts from zeros here, which would switch text, times and output off
                torch.nn.init.normal_(parameter, std=0.05)
    return OneDiffusionPipeline(
        transformer=network.eval(), scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), **parts
    )


def main(
    folder: Annotated[Path, typer.Argument(help="where to write the model; must not exist")],
    encoders: Annotated[str, typer.Option(help="released (tiny random T5 and autoencoder) or embedded")] = "released",
    seed: Annotated[int, typer.Option(help="seed of the random weights")] = 0,
) -> None:
    """Write a small model of random weights in the released layout."""
    if encoders not in ("released", "embedded"):
        raise ConfigError(f"encoders must be released or embedded, got {encoders!r}.")
    if folder.exists():
        raise ConfigError(f"folder must not exist, {folder} does. Remove it or name another.")
    random_pipeline("released" if encoders == "released" else "embedded", seed).save_pretrained(folder)
    typer.echo(f"wrote {folder}: try onegen sample --model {folder} --task text2image --prompt 'a bay' --out out.png")


if __name__ == "__main__":
    typer.run(main)
