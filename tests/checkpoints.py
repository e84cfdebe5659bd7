"""Tiny checkpoints of random weights, in the layout of the repositories that hub backends load.

Each function writes one into a folder: configurations shrunk, names of keys and files kept as the class that the real
repository names saves them. What is made from a seed is made once a session.
"""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

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
