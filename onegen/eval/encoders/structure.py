"""How far an edit moves what is where: the structure distance of PIE-Bench (Tumanyan et al., CVPR 2022).

Of each picture, how alike the keys of DINO's last attention are among themselves; then the mean squared difference of
two such tables. Attention looks at shapes and parts, and hardly at colours.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from onegen.annotators.shared.torch_annotator import TorchAnnotator
from onegen.eval.encoders.clip import identities
from onegen.sample import CHANGES_NO_RESULT

BASE8 = "facebook/dino-vitb8"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LEAST = 1e-8


@dataclass(frozen=True)
class Structure(TorchAnnotator):
    """DINO's ViT of transformers. Only `distance` is asked of it: it fills no column."""

    model: str = field(default=BASE8, metadata={CHANGES_NO_RESULT: True})

    name: ClassVar[str] = "dino_structure"

    def build(self, folder: Path) -> Any:
        """Return the network."""
        from transformers import ViTModel

        return self.from_folder(ViTModel, folder, add_pooling_layer=False)

    def distance(self, picture: np.ndarray, source: np.ndarray) -> float:
        """Return the distance of two RGB uint8 (H,W,3) pictures, 0 of a picture with itself."""
        ours, theirs = self._self_similarity(picture), self._self_similarity(source)
        return float(np.mean((ours - theirs) ** 2))

    def identity(self) -> list[dict[str, str]]:
        """Return what a result records of the weights."""
        return identities(self.weights())

    def _self_similarity(self, pixels: np.ndarray) -> np.ndarray:
        """Return the cosines (t,t) between the keys of all tokens, the class token's among them."""
        import torch

        network = self.network()
        seen: list[torch.Tensor] = []
        last = network.layers[-1].attention.k_proj
        hook = last.register_forward_hook(lambda module, given, keys: seen.append(keys[0].float()))
        try:
            with torch.inference_mode():
                network(self._input(pixels, network))
        finally:
            hook.remove()
        (keys,) = seen
        lengths = keys.norm(dim=1, keepdim=True)
        cosines: np.ndarray = (keys @ keys.T / (lengths @ lengths.T).clamp(min=_LEAST)).cpu().numpy()
        return cosines

    def _input(self, pixels: np.ndarray, network: Any) -> Any:
        """Return what the network sees, (1,3,side,side).

        The benchmark's own scorer does not divide by 255 before it takes mean and deviation, which are of [0, 1]; its
        published figures are of such inputs, and so are ours. It resizes without smoothing (torchvision 0.13).
        """
        import torch

        image = torch.tensor(pixels, dtype=torch.float32, device=network.device).permute(2, 0, 1)[None]
        side = network.config.image_size
        small = torch.nn.functional.interpolate(image, (side, side), mode="bilinear", align_corners=False)
        mean, std = (torch.tensor(values, device=image.device).view(1, 3, 1, 1) for values in (_MEAN, _STD))
        return ((small - mean) / std).to(network.dtype)
