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
def caption_llava(folder: Path) -> None:
    llava_next(folder, SENTENCE)


@of("names", "vlm")
def names_llava(folder: Path) -> None:
    llava_next(folder, ("woman,", "red", "car,", "dog,", "bench"))


def llava_next(folder: Path, sentence: Sequence[str]) -> None:
    """Laid out as llava-hf/llama3-llava-next-8b-hf; it says the sentence."""
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessor,
        LlavaNextProcessor,
    )

    pinpoints = [[28, 56], [56, 28], [56, 56]]
    tokenizer = chat_tokenizer(sentence)
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


@of("detection", "rt-detr")
def rt_detr(folder: Path) -> None:
    """Laid out as PekingU/rtdetr_v2_r50vd."""
    from transformers import RTDetrImageProcessor, RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection

    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 32],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    names = {0: "person", 1: "bicycle", 2: "car", 3: "motorbike", 4: "sofa"}
    config = RTDetrV2Config(
        backbone_config=backbone,
        encoder_in_channels=[16, 16, 32],
        encoder_hidden_dim=32,
        encoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_in_channels=[32, 32, 32],
        d_model=32,
        decoder_ffn_dim=32,
        decoder_layers=2,
        decoder_attention_heads=2,
        num_queries=30,
        num_denoising=0,
        id2label=names,
        label2id={name: index for index, name in names.items()},
        initializer_bias_prior_prob=0.4,
    )
    RTDetrV2ForObjectDetection(config).save_pretrained(folder)
    RTDetrImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)


@of("detection", "grounding-dino")
def grounding_dino(folder: Path) -> None:
    """Laid out as IDEA-Research/grounding-dino-base."""
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "person", "bus", "car", "red", "cat", "dog"]
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(words)})
    backbone = SwinConfig(
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 2],
        window_size=4,
        image_size=64,
        out_features=["stage2", "stage3", "stage4"],
    )
    text = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=32,
        encoder_layers=2,
        encoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_ffn_dim=32,
        decoder_attention_heads=2,
        num_queries=20,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    images = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)


@of("detection", "yolo")
def yolo(folder: Path) -> None:
    """The one file of Ultralytics/YOLO11 that is fetched, of the smallest network with a last layer that is loud."""
    from onegen.annotators.detection.yolo import _ultralytics

    model = _ultralytics().YOLO("yolo11n.yaml")
    with torch.no_grad():
        for branch in model.model.model[-1].cv3:
            branch[-1].bias.fill_(0.5)
    model.model.names = {0: "person", 16: "dog"} | {n: f"class {n}" for n in range(80) if n not in (0, 16)}
    model.save(folder / "yolo11x.pt")


@of("detection", "florence")
def florence(folder: Path) -> None:
    """Laid out as florence-community/Florence-2-large-ft; it writes down a car and a dog."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        BartConfig,
        CLIPImageProcessor,
        Florence2Config,
        Florence2ForConditionalGeneration,
        Florence2Processor,
        Florence2VisionConfig,
        PreTrainedTokenizerFast,
    )

    car = ["car", *(f"<loc_{number}>" for number in (100, 200, 500, 600))]
    dog = ["dog", *(f"<loc_{number}>" for number in (0, 10, 999, 998))]
    chain = ["<s>", *car, *dog, "</s>"]
    others = ["<pad>", "<unk>", "<image>", *(f"<loc_{n}>" for n in range(1000) if f"<loc_{n}>" not in chain), "<start>"]
    words = [*chain, *others]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.WhitespaceSplit(), decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
    )
    vision = Florence2VisionConfig(
        depths=[1, 1, 1, 1],
        embed_dim=[8, 8, 16, 16],
        num_heads=[2, 2, 2, 2],
        num_groups=[2, 2, 2, 2],
        window_size=4,
        projection_dim=32,
    )
    text = BartConfig(
        vocab_size=len(words),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=1100,
        bos_token_id=0,
        eos_token_id=len(chain) - 1,
        pad_token_id=len(chain),
        decoder_start_token_id=len(words) - 1,
        forced_bos_token_id=None,
        forced_eos_token_id=None,
    )
    config = Florence2Config(
        vision_config=vision, text_config=text, image_token_id=words.index("<image>"), tie_word_embeddings=False
    )
    model = Florence2ForConditionalGeneration(config)
    decoder = model.model.language_model.decoder
    for name, weight in decoder.named_parameters():
        if name.endswith(("out_proj.weight", "fc2.weight", "embed_positions.weight")):
            torch.nn.init.zeros_(weight)
    embedding = model.get_input_embeddings()
    torch.nn.init.normal_(embedding.weight)
    decoder.embed_tokens.weight = embedding.weight
    with torch.no_grad():
        model.lm_head.weight.copy_(torch.roll(embedding.weight, 1, dims=0))
    model.generation_config.eos_token_id = len(chain) - 1
    model.generation_config.decoder_start_token_id = len(words) - 1
    model.save_pretrained(folder)
    images = CLIPImageProcessor(size={"height": 64, "width": 64}, do_center_crop=False)
    images.image_seq_length = 5
    parses = {"description_with_bboxes": {}, "pure_text": {}}
    Florence2Processor(images, fast, post_processor_config=parses).save_pretrained(folder)
