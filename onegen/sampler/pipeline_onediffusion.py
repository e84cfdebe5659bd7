"""`OneDiffusionPipeline`: every task of OneDiffusion through one call, in the manner of diffusers.

    pipe = OneDiffusionPipeline.from_pretrained("path/or/hub-id", torch_dtype=torch.bfloat16).to("cuda")
    pipe("text2image", prompt="a bay at dawn").images[0]
    pipe("depth2image", [photo, None]).images[0]              # the photo's depth
    pipe("depth2image", [None, depth], prompt="a bay").images  # an image of that depth
    pipe("multiview", [photo, orbit(0), None, orbit(30), None, orbit(60)]).images

Written from the description of the released pipeline in docs/onediffusion.md: its results for one sample, without its
faults.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.utils import BaseOutput
from diffusers.utils.accelerate_utils import apply_forward_hook
from diffusers.utils.torch_utils import randn_tensor
from torch import nn

from onegen.errors import ConfigError
from onegen.flow.path import velocity_of
from onegen.geometry.rays import camera_rays, latent_to_rays, rays_to_latent
from onegen.model.checkpoint import Loading
from onegen.model.encoders import (
    check_finite,
    codec_factor,
    decode_latents,
    encode_images,
    encode_prompts,
    text_width,
)
from onegen.model.nextdit import NextDiT
from onegen.model.text import TextContext
from onegen.sampler.folder import find_folder, read_parts, write_parts
from onegen.sampler.images import prepare, to_pil
from onegen.sampler.inputs import Prompts, Request, View, choose_size, make_request
from onegen.sampler.limits import check_numbers
from onegen.sampler.schedule import num_generated_tokens, set_timesteps

OUTPUT_TYPES = ("pil", "np", "pt", "latent")
Generators: TypeAlias = torch.Generator | list[torch.Generator] | None


@dataclass
class OneDiffusionPipelineOutput(BaseOutput):
    """What a call returns.

    `images` holds the generated image views, sample after sample and view after view: PIL images, float arrays or
    tensors in [0, 1], or latents. `rays` (samples, views, 6, h, w) holds the generated ray views (see
    `rays_to_cameras`), or None. `latents` (samples, views, channels, h, w) holds all views as the network sees them.
    """

    images: Any
    rays: np.ndarray | None
    latents: torch.Tensor


class OneDiffusionPipeline(DiffusionPipeline):
    """Samples any view of any task, given the others. Raises ConfigError when the parts do not fit together."""

    model_cpu_offload_seq = "text_encoder->transformer->vae"  # type: ignore[assignment]
    _callback_tensor_inputs = ("latents",)

    transformer: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Any
    _execution_device: torch.device

    def __init__(
        self,
        transformer: NextDiT,
        vae: nn.Module,
        text_encoder: nn.Module,
        tokenizer: Any,
        scheduler: FlowMatchEulerDiscreteScheduler,
    ) -> None:
        super().__init__()
        _check_parts(transformer, vae, text_encoder)
        self.register_modules(
            transformer=transformer, vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, scheduler=scheduler
        )

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str,
        *,
        torch_dtype: torch.dtype = torch.float32,
        revision: str | None = None,
        cache_dir: str | None = None,
        local_files_only: bool = False,
        variant: str | None = None,
        use_safetensors: bool | None = None,
        device_map: str | torch.device | None = None,
        low_cpu_mem_usage: bool | None = None,
    ) -> "OneDiffusionPipeline":
        """Return the pipeline in a folder of the released layout, or in a hub repository of it.

        `variant`, `use_safetensors`, `device_map` and `low_cpu_mem_usage` hold for every part that has weights, and are
        described at `onegen.model.checkpoint.Loading`.

        Raises ConfigError listing what is missing, extra, misshapen or not finite in the checkpoint.
        """
        folder = find_folder(str(pretrained_model_name_or_path), revision, cache_dir, local_files_only)
        loading = Loading(variant, use_safetensors, device_map, low_cpu_mem_usage)
        return cls(**read_parts(folder, torch_dtype, loading))

    def save_pretrained(self, save_directory: str | Path) -> None:  # type: ignore[override]
        """Write the pipeline as a folder of the released layout."""
        write_parts(Path(save_directory), self.components)

    @torch.no_grad()
    def __call__(
        self,
        task: str | Sequence[str] = "text2image",
        views: Sequence[View] | Sequence[Sequence[View]] | None = None,
        prompt: Prompts = "",
        negative_prompt: str | Sequence[str] | None = None,
        *,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        num_images_per_prompt: int = 1,
        center_crop: bool = True,
        noise_scale: float = 1.0,
        rope_scale_factor: float = 1.0,
        rope_scale_watershed: float = 1.0,
        generator: Generators = None,
        latents: torch.Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[[Any, int, torch.Tensor, dict[str, Any]], dict[str, Any]] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> OneDiffusionPipelineOutput | tuple[Any, ...]:
        """Generate the views that are left out.

        Args:
            task: A name of the task table, or several (`"image_inpainting+faceid"`, or a list) for a combination that
                was never trained.
            views: The views in the task's order, None where one is to be generated: images (PIL, or uint8 (H,W,3)),
                and in multiview a `Camera` behind each image. One list for all prompts, or one list per prompt.
                Default: a single view, to be generated.
            prompt: A caption, a written prompt that opens with the task's token, a `Prompt`, or a list of them, one
                per sample.
            negative_prompt: What to steer away from; one text, or a list where `prompt` is one. Default: empty.
            height: Pixels of a generated view, divisible by 16; given with `width`. Default: those of the 512-bucket
                nearest to the first image; 512 x 512 in multiview and where no image is given; the model's own size
                for text2image.
            width: As `height`.
            num_inference_steps: Steps of the solver, at least 1. Default: the first task's suggestion, 50 to 75.
            guidance_scale: Weight of the prompt against the negative one, above 0; acts above 1. Default: the first
                task's suggestion, 4.0, for editing 3.2.
            num_images_per_prompt: Outputs per sample, at least 1; they share the conditions and differ in the noise.
            center_crop: Crop images to the aspect of the target (True), or stretch them to it.
            noise_scale: Multiplies, above 0, the number of tokens behind a dynamic time shift: above 1 more steps go to
                high noise. Ignored where the scheduler's shift is fixed.
            rope_scale_factor: Stretches positions for more or larger views than trained, 1.1 to 1.5; 1.0 does not.
            rope_scale_watershed: Timestep, in (0, 1000], below which positions are divided by `rope_scale_factor`;
                above, the rotary base is multiplied by it. 100 to 400 go with a factor.
            generator: Source of the noise: one, or one per output, whose output then equals the one sampled alone.
                Default: torch's own.
            latents: The initial noise (outputs, views, channels, h, w), instead of drawing it; what it has at given
                views is ignored.
            output_type: `pil`, `np` (n,H,W,3) or `pt` (n,3,H,W), both float in [0, 1], or `latent` (n,channels,h,w).
            return_dict: False for a plain tuple (images, rays, latents).
            callback_on_step_end: Called as (pipe, step, timestep, tensors) after each step; `tensors` has `latents`,
                and what it returns under that name replaces them.
            callback_on_step_end_tensor_inputs: The tensors it wants; `latents` is the only one there is.

        Returns:
            A `OneDiffusionPipelineOutput`, or the tuple of its fields.

        Raises:
            ConfigError: For input that does not fit the task or the model, and for text, latents or images that came
                out with NaN or infinity: half precision overflows, and a picture of it would be black.
        """
        # 1. Check the inputs, and bring prompts and views into one form
        _check_output(output_type, callback_on_step_end_tensor_inputs)
        check_numbers(
            (height, width),
            (num_inference_steps, num_images_per_prompt),
            guidance_scale,
            noise_scale,
            (rope_scale_factor, rope_scale_watershed),
        )
        request = make_request(task, views, prompt, negative_prompt)
        steps = request.tasks[0].steps if num_inference_steps is None else num_inference_steps
        guidance = request.tasks[0].guidance if guidance_scale is None else guidance_scale
        num_outputs = len(request.samples) * num_images_per_prompt
        _check_generators(generator, num_outputs)

        # 2. Choose the size, in pixels and in latent pixels
        factor, device, dtype = codec_factor(self.vae), self._execution_device, self.transformer.dtype
        native = tuple(factor * side for side in self.transformer.config.input_size[1:])
        size = choose_size(request, height, width, (native[0], native[1]))
        shape = (self.transformer.config.in_channels, size[0] // factor, size[1] // factor)

        # 3. Encode each distinct prompt once; rows for guidance are [negative..., positive...]
        text = self._encode_text(request, num_images_per_prompt, guided=guidance > 1)

        # 4. Prepare the schedule from the number of generated views, rays included
        tokens = num_generated_tokens(len(request.targets), *shape[1:]) * noise_scale
        timesteps = set_timesteps(self.scheduler, steps, tokens, device)

        # 5. Draw in the order of the released pipeline, so that its seeds stay good: a noise it never used (only where
        # there are images), the conditions' posterior, the initial noise
        if request.indices(ray=False, generated=False):
            randn_tensor((num_outputs, *shape), generator, device, dtype)
        conditions = self._encode_conditions(request, size, shape, num_images_per_prompt, generator, center_crop)
        noise = self._initial_noise((num_outputs, len(request.mask), *shape), generator, latents)
        is_target = torch.tensor(request.mask, dtype=torch.bool, device=device)
        targets = torch.tensor(request.targets, device=device)
        latents = torch.where(is_target[:, None, None, None], noise, conditions)

        # 6. Denoise: targets are at the step's time, conditions always at the last one, which is not 0
        with self.progress_bar(total=steps) as progress:
            for index, timestep in enumerate(timesteps):
                times = torch.where(is_target, timestep, timesteps[-1]).expand(num_outputs, -1)
                velocity = self._velocity(latents, times, text, guidance, rope_scale_factor, rope_scale_watershed)
                stepped = self.scheduler.step(velocity[:, targets], timestep, latents[:, targets]).prev_sample
                latents = latents.index_copy(1, targets, stepped)
                if callback_on_step_end is not None:
                    changed = callback_on_step_end(self, index, timestep, {"latents": latents}) or {}
                    latents = changed.get("latents", latents)
                progress.update()

        # 7. Decode the generated image views; rays are read, not decoded
        check_finite(f"latents after {steps} steps", latents, self.transformer.dtype)
        ray_views = request.indices(ray=True, generated=True)
        rays = latent_to_rays(latents[:, ray_views].float().cpu().numpy()) if ray_views else None
        images = self._decode(latents[:, request.indices(ray=False, generated=True)], output_type)

        # 8. Offload, and return
        self.maybe_free_model_hooks()
        if not return_dict:
            return images, rays, latents
        return OneDiffusionPipelineOutput(images=images, rays=rays, latents=latents)

    def _encode_text(self, request: Request, repeats: int, guided: bool) -> TextContext:
        """Return the text of the batch: for each output its prompt, preceded by all negatives when guided."""
        wanted = (request.negatives if guided else ()) + request.prompts
        distinct = list(dict.fromkeys(wanted))
        states, mask = encode_prompts(self.tokenizer, self.text_encoder, distinct)
        states = states.to(self._execution_device, self.transformer.dtype)
        context = apply_forward_hook(NextDiT.encode_text)(self.transformer, states, mask)
        return context.select([distinct.index(text) for text in wanted for _ in range(repeats)])

    def _encode_conditions(
        self,
        request: Request,
        size: tuple[int, int],
        shape: tuple[int, ...],
        repeats: int,
        generator: Generators,
        crop: bool,
    ) -> torch.Tensor:
        """Return (outputs, views, channels, h, w) with the latents of given images and cameras, zero elsewhere."""
        device, dtype = self._execution_device, self.transformer.dtype
        pictures, cameras = (request.indices(ray=ray, generated=False) for ray in (False, True))
        latents = torch.zeros(len(request.samples) * repeats, len(request.mask), *shape, device=device, dtype=dtype)
        posteriors: dict[int, Any] = {}  # samples that share their views share the encoding, not the draw
        for output in range(len(latents)):
            sample: Any = request.samples[output // repeats]
            drawn = generator[output] if isinstance(generator, list) else generator
            if pictures:
                if id(sample) not in posteriors:
                    pixels = torch.stack([prepare(sample[view], *size, crop) for view in pictures])
                    posteriors[id(sample)] = encode_images(self.vae, pixels.to(device))
                latent = posteriors[id(sample)].sample(drawn) * self.vae.config.scaling_factor
                check_finite("latents of the given images", latent, self.vae.dtype)
                latents[output, pictures] = latent.to(device, dtype)
            if cameras:
                # rays skip the codec and its scaling factor; unknown cameras are left out of the frame's choice
                rays = rays_to_latent(camera_rays([sample[view] for view in cameras], *shape[1:]), shape[0])
                latents[output, cameras] = torch.from_numpy(rays).to(device, dtype)
        return latents

    def _initial_noise(self, shape: tuple[int, ...], generator: Generators, given: torch.Tensor | None) -> torch.Tensor:
        device, dtype = self._execution_device, self.transformer.dtype
        if given is None:
            return randn_tensor(shape, generator, device, dtype)
        if tuple(given.shape) != shape:
            raise ConfigError(f"latents must have the shape {shape}, got {tuple(given.shape)}.")
        check_finite("latents given", given, given.dtype)
        return given.to(device, dtype)

    def _velocity(
        self,
        latents: torch.Tensor,
        times: torch.Tensor,
        text: TextContext,
        guidance: float,
        scale_factor: float,
        scale_watershed: float,
    ) -> torch.Tensor:
        """Return the velocity of all views; guidance changes the text only, conditions stay in both branches."""
        copies = len(text.lengths) // len(latents)
        velocity = self.transformer(
            latents.repeat(copies, 1, 1, 1, 1),
            times.repeat(copies, 1),
            text=text,
            scale_factor=scale_factor,
            scale_watershed=scale_watershed,
        )
        if copies > 1:
            negative, positive = velocity.chunk(2)
            velocity = negative + guidance * (positive - negative)
        prediction = self.transformer.config.get("prediction", "velocity")
        return velocity_of(velocity, latents, times[..., None, None, None] / 1000, prediction)

    def _decode(self, latents: torch.Tensor, output_type: str) -> Any:
        """Return the images of latents (outputs, views, channels, h, w), output after output, one at a time."""
        flat = latents.flatten(0, 1)
        if output_type == "latent":
            return flat
        if not len(flat):
            return []
        images = torch.cat([decode_latents(self.vae, latent[None]) for latent in flat])
        if output_type == "pt":
            return images
        return to_pil(images) if output_type == "pil" else images.permute(0, 2, 3, 1).cpu().numpy()


def _check_parts(transformer: Any, vae: Any, text_encoder: nn.Module) -> None:
    channels, width = transformer.config.in_channels, transformer.config.caption_channels
    if vae.config.latent_channels != channels:
        raise ConfigError(
            f"in_channels of the transformer must be the codec's {vae.config.latent_channels}, got {channels}."
        )
    if text_width(text_encoder) != width:
        raise ConfigError(
            f"caption_channels of the transformer must be the text encoder's {text_width(text_encoder)}, got {width}."
        )


def _check_output(output_type: str, callback_inputs: Sequence[str]) -> None:
    if output_type not in OUTPUT_TYPES:
        raise ConfigError(f"output_type must be one of {', '.join(OUTPUT_TYPES)}, got {output_type!r}.")
    if not set(callback_inputs) <= {"latents"}:
        raise ConfigError(f"callback_on_step_end_tensor_inputs must be of ('latents',), got {tuple(callback_inputs)}.")


def _check_generators(generator: Generators, num_outputs: int) -> None:
    if isinstance(generator, list) and len(generator) != num_outputs:
        raise ConfigError(f"generators must be one, or one per output ({num_outputs}), got {len(generator)}.")
