"""Tiny checkpoints of random weights of the networks that metrics alone use, laid out as the real ones."""

from pathlib import Path

import torch


def mask2former(folder: Path) -> None:
    """Laid out as facebook/mask2former-swin-small-coco-instance, of five classes."""
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    torch.manual_seed(0)
    backbone = SwinConfig(
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 2],
        window_size=4,
        image_size=64,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    names = dict(enumerate(("person", "bicycle", "mouse", "potted plant", "tv")))
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=8,
        id2label=names,
        label2id={name: index for index, name in names.items()},
    )
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    Mask2FormerImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}, size_divisor=32).save_pretrained(folder)


def dino(folder: Path) -> None:
    """Laid out as facebook/dino-vits16."""
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=16
    )
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def lpips_trunk(trunk: str, path: Path) -> None:
    """torchvision's own network with weights of chance, under its file's keys."""
    import torchvision

    torch.manual_seed(0)
    cls = {"alex": torchvision.models.alexnet, "squeeze": torchvision.models.squeezenet1_1}[trunk]
    torch.save(cls(weights=None).state_dict(), path)
