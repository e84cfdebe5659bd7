"""A model at work for a protocol: each picture from noise of its own, whatever is drawn beside or before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from onegen.eval.sampling import Sampling
from onegen.shards.key import seed_of

if TYPE_CHECKING:
    from onegen.geometry.cameras import Camera
    from onegen.sampler.pipeline_onediffusion import OneDiffusionPipeline, OneDiffusionPipelineOutput


@dataclass(frozen=True)
class Painter:
    """A loaded pipeline and how it is to draw for a protocol (its name and version are in the seeds)."""

    pipe: "OneDiffusionPipeline"
    sampling: Sampling
    seed: int
    protocol: str
    version: int

    def images(
        self,
        key: str,
        task: str,
        prompt: Any,
        views: Sequence[Any] | None = None,
        count: int = 1,
        size: tuple[int, int] | None = None,
        crop: bool = True,
    ) -> list[Image.Image]:
        """Return the pictures of a call, `count` outputs one after the other; `key` names them in their seeds.

        `size` (height, width) is that of the call unless the sampling has its own. Without `crop` given pictures are
        stretched to it.
        """
        return list(self._call(key, task, prompt, views, count, size, "pil", crop).images)

    def array(
        self, key: str, task: str, prompt: Any, views: Sequence[Any], size: tuple[int, int] | None = None
    ) -> np.ndarray:
        """Return the first generated view as float (H,W,3) in [0, 1], not rounded to 8 bits; nothing is cropped."""
        output = self._call(key, task, prompt, views, 1, size, "np", crop=False)
        return np.asarray(output.images[0])

    def cameras(self, key: str, pictures: Sequence[Image.Image], focal: float) -> "list[Camera]":
        """Return the camera of each picture, from the rays the model generates."""
        from onegen.geometry.rays import rays_to_cameras

        views = [view for picture in pictures for view in (picture, None)]
        output = self._call(key, "multiview", "", views, 1, None, "pil")
        assert output.rays is not None, "the rays are what is left out"
        return rays_to_cameras(output.rays[0], (focal, focal))

    def _call(
        self,
        key: str,
        task: str,
        prompt: Any,
        views: Sequence[Any] | None,
        count: int,
        size: tuple[int, int] | None,
        output_type: str,
        crop: bool = True,
    ) -> "OneDiffusionPipelineOutput":
        import torch

        own = self.sampling.height, self.sampling.width
        height, width = own if own[0] is not None else (size or (None, None))
        seeds = [seed_of(f"{self.seed}/{key}/{index}", self.protocol, self.version) for index in range(count)]
        output = self.pipe(
            task,
            views,
            prompt,
            self.sampling.negative_prompt,
            height=height,
            width=width,
            num_inference_steps=self.sampling.steps,
            guidance_scale=self.sampling.guidance,
            num_images_per_prompt=count,
            center_crop=crop,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type=output_type,
        )
        assert not isinstance(output, tuple), "only return_dict=False gives a tuple"
        return output


def load_painter(
    model: str, dtype: str, device: str, sampling: Sampling, seed: int, protocol: str, version: int
) -> Painter:
    """Return a painter with the pipeline in a folder or of the hub on its device."""
    import torch

    from onegen.sampler.pipeline_onediffusion import OneDiffusionPipeline

    pipe = OneDiffusionPipeline.from_pretrained(model, torch_dtype=getattr(torch, dtype))
    pipe.set_progress_bar_config(disable=True)
    return Painter(pipe.to(device), sampling, seed, protocol, version)


def model_hash(model: str) -> str:
    """Return SHA-256 over the hashes of the files of a model's folder, or of a hub repository once it is here."""
    from onegen.sampler.folder import PARTS, find_folder
    from onegen.weights.hub import HubModel

    folder = find_folder(model, None, None, False)
    files = ("model_index.json", *(f"{part}/*" for part in PARTS))
    return HubModel(str(Path(folder).absolute()), files=files).identity().sha256
