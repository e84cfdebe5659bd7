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
PARTS: dict[tuple[str, str], Write] = {}
"""By annotator and part: what writes a further repository."""


def of(annotator: str, backend: str) -> Callable[[Write], Write]:
    def enter(write: Write) -> Write:
        CHECKPOINTS[annotator, backend] = write
        return write

    return enter


@functools.cache
def checkpoint(annotator: str, backend: str, is_part: bool = False) -> Path:
    """Return the folder with a backend's checkpoint, or (`is_part`) with one of its further repositories."""
    folder = Path(tempfile.mkdtemp(prefix=f"tiny-{backend}-")) / f"tiny-{backend}"
    folder.mkdir()
    torch.manual_seed(0)
    (PARTS if is_part else CHECKPOINTS)[annotator, backend](folder)
    return folder


FURTHER: dict[tuple[str, str], dict[str, tuple[str, str]]] = {
    ("aesthetic", "laion"): {"head": ("trl-lib/ddpo-aesthetic-predictor", "head")},
    ("faces", "arcface"): {"detector": ("opencv/face_detection_yunet", "detector")},
}
"""Of backends with a second repository: the option that names it, its name, and which checkpoint stands for it."""


def further(annotator: str, backend: str) -> dict[str, Path]:
    """Return the folders of a backend's other repositories, by name."""
    named = FURTHER.get((annotator, backend), {})
    return {repository: checkpoint(annotator, part, is_part=True) for repository, part in named.values()}


def options(annotator: str, backend: str) -> dict[str, str]:
    """Return the options that make a backend take its other repositories from folders."""
    named = FURTHER.get((annotator, backend), {})
    return {option: str(checkpoint(annotator, part, is_part=True)) for option, (_, part) in named.items()}


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
    """Laid out as Ultralytics/YOLO11: whole networks of ultralytics, one a file."""
    from onegen.annotators.detection.yolo import ultralytics_tasks

    tasks = ultralytics_tasks()
    layout = tasks.yaml_model_load("yolo11n.yaml") | {"scales": {"n": [0.25, 0.0625, 128]}}
    network = tasks.DetectionModel(layout, nc=4, verbose=False)
    network.names = dict(enumerate(("person", "bicycle", "couch", "tv")))
    with torch.no_grad():  # fresh weights let what they see fade away, and find nothing
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.mul_(3.6)
        for branch in network.model[-1].cv3:
            branch[-1].bias.fill_(-1.0)
    torch.save({"model": network, "ema": None}, folder / "yolo11x.pt")


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


@of("hed", "controlnet")
def controlnet_hed(folder: Path) -> None:
    """The file of lllyasviel/Annotators; its class has one size, made narrow here by noughts in most of its weights."""
    from controlnet_aux.hed import ControlNetHED_Apache2

    torch.save(ControlNetHED_Apache2().state_dict(), folder / "ControlNetHED.pth")


@of("pose", "openpose")
def openpose(folder: Path) -> None:
    """The file of lllyasviel/Annotators: names lack the first word that the class gives its layers."""
    from controlnet_aux.open_pose.model import bodypose_model

    weights = bodypose_model().state_dict()
    torch.save({name.partition(".")[2]: value for name, value in weights.items()}, folder / "body_pose_model.pth")


@of("segmentation", "sam")
def sam(folder: Path) -> None:
    """The file of ybelkada/segment-anything that is fetched, of a network of two blocks."""
    from functools import partial

    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    encoder = ImageEncoderViT(
        img_size=256,
        patch_size=16,
        embed_dim=32,
        depth=2,
        num_heads=2,
        mlp_ratio=2,
        out_chans=32,
        qkv_bias=True,
        use_rel_pos=True,
        window_size=14,
        global_attn_indexes=(1,),
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
    )
    prompts = PromptEncoder(embed_dim=32, image_embedding_size=(16, 16), input_image_size=(256, 256), mask_in_chans=4)
    decoder = MaskDecoder(
        transformer_dim=32,
        transformer=TwoWayTransformer(depth=2, embedding_dim=32, num_heads=8, mlp_dim=32),
        num_multimask_outputs=3,
        iou_head_depth=3,
        iou_head_hidden_dim=32,
    )
    (folder / "checkpoints").mkdir()
    torch.save(Sam(encoder, prompts, decoder).state_dict(), folder / "checkpoints" / "sam_vit_h_4b8939.pth")


@of("pose", "vitpose")
def vitpose(folder: Path) -> None:
    """Laid out as usyd-community/vitpose-base-simple."""
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation, VitPoseImageProcessor

    backbone = VitPoseBackboneConfig(
        image_size=[64, 48],
        patch_size=[16, 16],
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        out_indices=[2],
    )
    names = {index: f"point {index}" for index in range(17)}
    config = VitPoseConfig(
        backbone_config=backbone, id2label=names, label2id={v: k for k, v in names.items()}, use_simple_decoder=True
    )
    VitPoseForPoseEstimation(config).save_pretrained(folder)
    VitPoseImageProcessor(size={"height": 64, "width": 48}).save_pretrained(folder)


@of("segmentation", "sam2")
def sam2(folder: Path) -> None:
    """Laid out as facebook/sam2.1-hiera-large."""
    from transformers import (
        Sam2Config,
        Sam2HieraDetConfig,
        Sam2ImageProcessor,
        Sam2MaskDecoderConfig,
        Sam2Model,
        Sam2Processor,
        Sam2PromptEncoderConfig,
        Sam2VisionConfig,
    )

    hiera = Sam2HieraDetConfig(
        hidden_size=16,
        num_attention_heads=1,
        image_size=[128, 128],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[16, 32, 64, 128],
        num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=[8, 4, 4, 4],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[8, 8],
    )
    vision = Sam2VisionConfig(
        backbone_config=hiera,
        backbone_channel_list=[128, 64, 32, 16],
        fpn_hidden_size=32,
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
    )
    prompts = Sam2PromptEncoderConfig(hidden_size=32, image_size=128, patch_size=16, mask_input_channels=4)
    decoder = Sam2MaskDecoderConfig(
        hidden_size=32, mlp_dim=32, num_hidden_layers=2, num_attention_heads=2, iou_head_hidden_dim=32
    )
    config = Sam2Config(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    Sam2Model(config).save_pretrained(folder)
    Sam2Processor(Sam2ImageProcessor(size={"height": 128, "width": 128})).save_pretrained(folder)


@of("segmentation", "sam3")
def sam3(folder: Path) -> None:
    """Laid out as facebook/sam3."""
    from transformers import (
        CLIPTextConfig,
        Sam3Config,
        Sam3DETRDecoderConfig,
        Sam3DETREncoderConfig,
        Sam3GeometryEncoderConfig,
        Sam3ImageProcessor,
        Sam3MaskDecoderConfig,
        Sam3Model,
        Sam3Processor,
        Sam3VisionConfig,
        Sam3ViTConfig,
    )

    words = ["<|startoftext|>", "<|endoftext|>", "<unk>", "person", "bus", "car", "dog", "cat", "red"]
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    model = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    model.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=[("<|startoftext|>", 0), ("<|endoftext|>", 1)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=model,
        unk_token="<unk>",
        pad_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        bos_token="<|startoftext|>",
        model_max_length=32,
    )
    sizes = {"hidden_size": 32, "num_attention_heads": 2}
    layers = {**sizes, "intermediate_size": 32, "num_layers": 1}
    vit = Sam3ViTConfig(
        **sizes,
        intermediate_size=32,
        num_hidden_layers=2,
        image_size=112,
        patch_size=14,
        window_size=4,
        global_attn_indexes=[1],
        pretrain_image_size=56,
    )
    vision = Sam3VisionConfig(
        backbone_config=vit, fpn_hidden_size=32, backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]]
    )
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        projection_dim=32,
        eos_token_id=1,
        bos_token_id=0,
        pad_token_id=1,
    )
    config = Sam3Config(
        vision_config=vision,
        text_config=text,
        geometry_encoder_config=Sam3GeometryEncoderConfig(**layers),
        detr_encoder_config=Sam3DETREncoderConfig(**layers),
        detr_decoder_config=Sam3DETRDecoderConfig(**layers, num_queries=10),
        mask_decoder_config=Sam3MaskDecoderConfig(**sizes),
    )
    Sam3Model(config).save_pretrained(folder)
    Sam3Processor(Sam3ImageProcessor(size={"height": 112, "width": 112}), tokenizer).save_pretrained(folder)


def clip_tokenizer() -> Any:
    """Return CLIP's own kind of tokenizer with the letters alone."""
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz.,"
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: index for index, word in enumerate(words)}, merges=[], model_max_length=16)


def marigold(folder: Path, pipeline: str, prediction: str) -> None:
    """Laid out as prs-eth/marigold-...-v1-1."""
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel

    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=8,
        out_channels=4,
        block_out_channels=(16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=16,
        attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    tokenizer = clip_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        eos_token_id=len(tokenizer) - 1,
        bos_token_id=len(tokenizer) - 2,
    )
    getattr(diffusers, pipeline)(
        unet=unet,
        vae=vae,
        scheduler=diffusers.DDIMScheduler(prediction_type="v_prediction"),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        prediction_type=prediction,
        default_denoising_steps=1,
        default_processing_resolution=64,
    ).save_pretrained(folder)


@of("depth", "marigold")
def marigold_depth(folder: Path) -> None:
    marigold(folder, "MarigoldDepthPipeline", "depth")


@of("normals", "marigold")
def marigold_normals(folder: Path) -> None:
    marigold(folder, "MarigoldNormalsPipeline", "normals")


@of("depth", "depth-pro")
def depth_pro(folder: Path) -> None:
    """Laid out as apple/DepthPro-hf."""
    from transformers import DepthProConfig, DepthProForDepthEstimation, DepthProImageProcessor, Dinov2Config

    def dino() -> Dinov2Config:
        return Dinov2Config(
            hidden_size=16,
            num_hidden_layers=4,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=32,
            patch_size=8,
            reshape_hidden_states=False,
            mlp_ratio=2,
            use_mask_token=False,
        )

    config = DepthProConfig(
        fusion_hidden_size=16,
        patch_size=32,
        intermediate_hook_ids=[3, 1],
        intermediate_feature_dims=[16, 16],
        scaled_images_ratios=[0.25, 0.5, 1],
        scaled_images_overlap_ratios=[0.0, 0.5, 0.25],
        scaled_images_feature_dims=[16, 16, 16],
        use_fov_model=True,
        num_fov_head_layers=2,
        image_model_config=dino(),
        patch_model_config=dino(),
        fov_model_config=dino(),
    )
    model = DepthProForDepthEstimation(config)
    with torch.no_grad():  # an angle that a camera has
        for name, weight in model.named_parameters():
            if name.startswith("fov_model.head.layers") and name.endswith("bias"):
                last = weight
        last.fill_(50.0)
    model.save_pretrained(folder)
    DepthProImageProcessor(size={"height": 128, "width": 128}).save_pretrained(folder)


@of("similarity", "siglip")
def siglip(folder: Path) -> None:
    """Laid out as google/siglip2-so400m-patch14-384."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        SiglipConfig,
        SiglipImageProcessor,
        SiglipModel,
        SiglipProcessor,
        SiglipTextConfig,
        SiglipVisionConfig,
    )

    words = ["<pad>", "<eos>", "<unk>", *"abcdefghijklmnopqrstuvwxyz"]
    model = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=model, unk_token="<unk>", pad_token="<pad>", eos_token="<eos>", model_max_length=16
    )
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = SiglipTextConfig(**sizes, vocab_size=len(words), max_position_embeddings=16, projection_size=32)
    vision = SiglipVisionConfig(**sizes, image_size=32, patch_size=8)
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    SiglipProcessor(SiglipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)


@of("similarity", "clip")
@of("aesthetic", "laion")
def clip(folder: Path) -> None:
    """Laid out as openai/clip-vit-large-patch14."""
    from transformers import (
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        CLIPProcessor,
        CLIPTextConfig,
        CLIPVisionConfig,
    )

    tokenizer = clip_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"eos_token_id": len(tokenizer) - 1, "bos_token_id": len(tokenizer) - 2}
    text = CLIPTextConfig(**sizes, **ends, vocab_size=len(tokenizer), max_position_embeddings=16, projection_dim=24)
    vision = CLIPVisionConfig(**sizes, image_size=28, patch_size=14, projection_dim=24)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    CLIPProcessor(images, tokenizer).save_pretrained(folder)


def aesthetic_head(folder: Path) -> None:
    """The file of trl-lib/ddpo-aesthetic-predictor: linear layers with dropouts between them."""
    layers = [torch.nn.Linear(24, 16), torch.nn.Dropout(), torch.nn.Linear(16, 8), torch.nn.Linear(8, 1)]
    model = torch.nn.Module()
    model.layers = torch.nn.Sequential(*layers)
    torch.save(model.state_dict(), folder / "aesthetic-model.pth")


PARTS["aesthetic", "head"] = aesthetic_head


@of("nsfw", "classifier")
def nsfw_classifier(folder: Path) -> None:
    """Laid out as Falconsai/nsfw_image_detection."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    config = ViTConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        id2label={0: "normal", 1: "nsfw"},
        label2id={"normal": 0, "nsfw": 1},
    )
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def yunet(folder: Path) -> None:
    """The file of opencv/face_detection_yunet: its outputs' names and shapes, of the mean grey of each cell."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, outputs, weights = [], [], []
    rng = np.random.default_rng(0)
    for stride in (8, 16, 32):
        nodes.append(
            helper.make_node(
                "AveragePool", ["input"], [f"cell_{stride}"], kernel_shape=[stride] * 2, strides=[stride] * 2
            )
        )
        for kind, channels in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            name = f"{kind}_{stride}"
            scale = 0.0 if kind in ("cls", "obj") else 0.002
            weight = (rng.normal(size=(channels, 3, 1, 1)) * scale).astype(np.float32)
            bias = np.full(channels, 0.9 if stride == 32 and kind in ("cls", "obj") else 0.0, np.float32)
            weights += [numpy_helper.from_array(weight, f"w_{name}"), numpy_helper.from_array(bias, f"b_{name}")]
            nodes += [
                helper.make_node("Conv", [f"cell_{stride}", f"w_{name}", f"b_{name}"], [f"conv_{name}"]),
                helper.make_node("Transpose", [f"conv_{name}"], [f"last_{name}"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"last_{name}", f"shape_{channels}"], [name]),
            ]
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, channels]))
    weights += [numpy_helper.from_array(np.array([1, -1, c], np.int64), f"shape_{c}") for c in (1, 4, 10)]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, None, None])]
    graph = helper.make_graph(nodes, "yunet", inputs, outputs, weights)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
        folder / "face_detection_yunet_2023mar.onnx",
    )


PARTS["faces", "detector"] = yunet


@of("faces", "arcface")
def arcface(folder: Path) -> None:
    """The file of opencv/face_recognition_sface: 112 x 112 pixels in, an identity of 8 numbers out."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).normal(size=(8, 3 * 49)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["data"], ["cells"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Flatten", ["cells"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight"], ["fc1"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "arcface",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, 8])],
        [numpy_helper.from_array(weight, "weight")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
        folder / "face_recognition_sface_2021dec.onnx",
    )
