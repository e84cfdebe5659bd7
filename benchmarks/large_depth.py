"""A checkpoint of Depth Anything V2 in its large size, with random weights: as slow as the published one."""

import time
from pathlib import Path

from onegen.pixels.codec import decode_image
from onegen.sample import Item


def write_checkpoint(folder: Path) -> None:
    """Write one of 335 M parameters, with the processor of the published repository."""
    import torch
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessor

    backbone = Dinov2Config(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=518,
        patch_size=14,
        out_indices=[5, 12, 18, 24],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=1024,
        neck_hidden_sizes=[256, 512, 1024, 1024],
        fusion_hidden_size=256,
        head_hidden_size=32,
    )
    torch.manual_seed(0)
    DepthAnythingForDepthEstimation(config).to(torch.bfloat16).save_pretrained(folder)
    DPTImageProcessor(
        size={"height": 518, "width": 518},
        ensure_multiple_of=14,
        keep_aspect_ratio=True,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(folder)


def bare_seconds(model: Path, photos: Path, count: int, batch_size: int) -> float:
    """Return the seconds that the network alone takes for `count` pictures, all prepared before."""
    import torch

    from onegen.annotators.depth.depth_anything import DepthAnything

    annotator = DepthAnything(model=str(model), dtype="bfloat16")
    annotator.load()
    paths = sorted(photos.iterdir())[: 4 * batch_size]
    ready = [annotator.prepare(Item("0" * 20, decode_image(path.read_bytes()))) for path in paths]
    batches = [ready[start : start + batch_size] for start in range(0, len(ready), batch_size)]
    annotator.infer(batches[0])
    began = time.perf_counter()
    done = 0
    while done < count:
        done += len(annotator.infer(batches[done // batch_size % len(batches)]))
    seconds = time.perf_counter() - began
    torch.cuda.empty_cache()
    return seconds
