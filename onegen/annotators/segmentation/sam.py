"""Masks by Segment Anything (Kirillov et al., ICCV 2023), One-Gen's own, from the boxes of the entities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from onegen.annotators import register
from onegen.annotators.segmentation import PROVIDES
from onegen.annotators.shared.pixels import picture_of
from onegen.annotators.shared.prompted import best_of, boxes_on, masked
from onegen.annotators.shared.torch_annotator import TorchAnnotator
from onegen.sample import CHANGES_NO_RESULT, Annotation, Item, Provides, Rejected
from onegen.weights.hub import HubModel

_WINDOW = 14
_HEADS = {1280: 16, 1024: 16, 768: 12}
"""Attention heads of the published encoders, huge, large and base, by their width: no weight tells them."""


@register("annotators", "segmentation", backend="sam")
@dataclass(frozen=True)
class Sam(TorchAnnotator):
    """The mask of every entity: of the three that `file` of `model` offers for its box, the one it believes fits best.

    Huge, large and base are told by their weights. Apache-2.0.
    """

    backend: Literal["sam"] = "sam"
    model: str = field(default="ybelkada/segment-anything", metadata={CHANGES_NO_RESULT: True})
    file: str = "checkpoints/sam_vit_h_4b8939.pth"

    name: ClassVar[str] = "segmentation"
    producer: ClassVar[str] = "sam"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"masks.png": 255.0, "areas": 0.01, "coverage": 0.01}
    requires: ClassVar[tuple[str, ...]] = ("entities",)
    provides: ClassVar[Provides] = PROVIDES
    packages: ClassVar[Mapping[str, str]] = {"segment_anything": "segment-anything", "torchvision": "torchvision"}

    def hub_model(self) -> HubModel:
        """Return the handle of its weights: one file of the repository."""
        return HubModel(self.model, self.revision, (self.file,), self.sha256, self.extra)

    def build(self, folder: Path) -> Any:
        """Return the network."""
        import torch

        with self.loading("segment-anything"):
            weights = torch.load(folder / self.file, map_location="cpu", weights_only=True)
            network = _network_of(weights)
            network.load_state_dict(weights)
        return self.ready(network)

    def prepare(self, item: Item) -> Any:
        """Return the image and the boxes as the network takes them; None without entities."""
        import torch
        from segment_anything.utils.transforms import ResizeLongestSide

        picture = picture_of(item)
        boxes = boxes_on(item, picture)
        if not len(boxes):
            return None
        size = (picture.height, picture.width)
        to_size = ResizeLongestSide(self.network().image_encoder.img_size)
        image = np.ascontiguousarray(to_size.apply_image(np.asarray(picture)).transpose(2, 0, 1))
        return {
            "image": torch.from_numpy(image).float(),
            "boxes": torch.from_numpy(to_size.apply_boxes(boxes, size)).float(),
            "original_size": size,
        }

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return the masks bool (N,h,w) of each picture's entities."""
        import torch

        network = self.network()
        asked = [index for index, inputs in enumerate(prepared) if inputs is not None]
        answers: list[Any] = [np.zeros((0, 1, 1), bool) for _ in prepared]
        batch = [
            {name: value.to(network.device) if torch.is_tensor(value) else value for name, value in prepared[i].items()}
            for i in asked
        ]
        if batch:
            with torch.inference_mode(), torch.autocast(network.device.type, self.torch_dtype(), self._is_narrow):
                found = network(batch, multimask_output=True)
            for index, one in zip(asked, found, strict=True):
                masks, fits = one["masks"].cpu().numpy(), one["iou_predictions"].float().cpu().numpy()
                answers[index] = best_of(masks, fits)
        return answers

    def ready(self, module: Any) -> Any:
        """Return the network on its device, in float32: what it computes in is chosen where it runs."""
        return module.to(device=self.torch_device()).eval().requires_grad_(False)

    @property
    def _is_narrow(self) -> bool:
        return self.dtype != "float32"

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored."""
        return masked(item, answer.astype(np.float32) - 0.5)


def _network_of(weights: Mapping[str, Any]) -> Any:
    """Return a network of the sizes that its weights have."""
    import torch
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
    from segment_anything.modeling import Sam as Network

    patches = weights["image_encoder.pos_embed"]  # (1, side, side, width)
    patch = weights["image_encoder.patch_embed.proj.weight"].shape[-1]
    side, width = patches.shape[1], patches.shape[3]
    depth = len({name.split(".")[2] for name in weights if name.startswith("image_encoder.blocks.")})
    prompt = weights["prompt_encoder.no_mask_embed.weight"].shape[1]
    # A block that attends to all has a place for every offset of the whole side, others of their window.
    whole = [
        block
        for block in range(depth)
        if weights[f"image_encoder.blocks.{block}.attn.rel_pos_h"].shape[0] == 2 * side - 1
    ]
    head_width = weights["image_encoder.blocks.0.attn.rel_pos_h"].shape[1]
    encoder = ImageEncoderViT(
        depth=depth,
        embed_dim=width,
        img_size=side * patch,
        mlp_ratio=weights["image_encoder.blocks.0.mlp.lin1.weight"].shape[0] / width,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        num_heads=_HEADS.get(width, width // head_width),
        patch_size=patch,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=whole,
        window_size=_WINDOW,
        out_chans=prompt,
    )
    prompts = PromptEncoder(
        embed_dim=prompt,
        image_embedding_size=(side, side),
        input_image_size=(side * patch, side * patch),
        mask_in_chans=weights["prompt_encoder.mask_downscaling.3.weight"].shape[0],
    )
    decoder = MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(
            depth=2,
            embedding_dim=prompt,
            mlp_dim=weights["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
            num_heads=8,
        ),
        transformer_dim=prompt,
        iou_head_depth=3,
        iou_head_hidden_dim=weights["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
    )
    return Network(encoder, prompts, decoder, pixel_mean=[123.675, 116.28, 103.53], pixel_std=[58.395, 57.12, 57.375])
