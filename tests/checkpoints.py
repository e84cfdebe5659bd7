"""Tiny checkpoints of random weights, in the layout of the repositories that hub backends load.

Each function writes one into a folder: configurations shrunk, names of keys and files kept as the class that the real
repository names saves them. What is made from a seed is made once a session.
"""

import functools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

Write = Callable[[Path], None]
CHECKPOINTS: dict[tuple[str, str], Write] = {}
"""By annotator and backend: what writes a checkpoint of its default model's architecture."""


def of(annotator: str, backend: str) -> Callable[[Write], Write]:
    def enter(write: Write) -> Write:
        CHECKPOINTS[annotator, backend] = write
        return write

    return enter


@functools.cache
def checkpoint(annotator: str, backend: str) -> Path:
    """Return the folder with a backend's checkpoint."""
    folder = Path(tempfile.mkdtemp(prefix=f"onegen-{backend}-")) / f"tiny-{backend}"
    folder.mkdir()
    torch.manual_seed(0)
    CHECKPOINTS[annotator, backend](folder)
    return folder


@of("depth", "depth-anything")
def depth_anything(folder: Path) -> None:
    """Laid out as depth-anything/Depth-Anything-V2-Small-hf."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessor

    backbone = Dinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        head_hidden_size=8,
    )
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    DPTImageProcessor(
        size={"height": 56, "width": 56},
        ensure_multiple_of=14,
        keep_aspect_ratio=True,
        resample=3,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(folder)


SENTENCE = (
    *("a", "photo", "of", "two", "people", "and", "red", "bus", "in", "the", "street", "an", "old", "town", "on"),
    *("grey", "day", "."),
)
"""What the tiny vision-language models say of every picture."""


def chat_tokenizer(sentence: Sequence[str]) -> Any:
    """Return a tokenizer of one token a word; `say`, which ends a prompt, comes before the sentence's first word."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<pad>", "<s>", "<image>", "say", *sentence, "</s>"]
    model = models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **special, extra_special_tokens={"image_token": "<image>"}
    )


def say(model: Any, lm_head: Any, embedding: Any) -> None:
    """Make a language model say its vocabulary in order: layers add nothing, a token's successor is the likeliest."""
    for name, weight in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")) and "vision" not in name:
            torch.nn.init.zeros_(weight)
    torch.nn.init.normal_(embedding.weight)
    with torch.no_grad():
        lm_head.weight.copy_(torch.roll(embedding.weight, 1, dims=0))


CHAT = "{% for message in messages %}USER: <image> {{ message['content'][1]['text'] }} {% endfor %} say"


@of("caption", "vlm")
def llava_next(folder: Path) -> None:
    """Laid out as llava-hf/llama3-llava-next-8b-hf."""
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessor,
        LlavaNextProcessor,
    )

    pinpoints = [[28, 56], [56, 28], [56, 56]]
    tokenizer = chat_tokenizer(SENTENCE)
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        bos_token_id=2,
        eos_token_id=len(tokenizer) - 1,
        pad_token_id=1,
        tie_word_embeddings=False,
    )
    config = LlavaNextConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=3,
        image_grid_pinpoints=pinpoints,
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )
    model = LlavaNextForConditionalGeneration(config)
    say(model.model.language_model, model.lm_head, model.get_input_embeddings())
    model.generation_config.eos_token_id = len(tokenizer) - 1
    model.save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}
    images = LlavaNextImageProcessor(image_grid_pinpoints=pinpoints, **sizes)
    LlavaNextProcessor(
        images,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=CHAT,
        image_token="<image>",
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
