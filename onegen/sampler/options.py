"""How views are drawn, as one record: what the command line, trajectories and cameras hand on to the pipeline."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onegen.sampler.limits import check_numbers

if TYPE_CHECKING:
    from onegen.sampler.inputs import Prompts, View
    from onegen.sampler.pipeline_onediffusion import Generators, OneDiffusionPipeline, OneDiffusionPipelineOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """Arguments of `OneDiffusionPipeline.__call__` that say how to draw and not what; named and described as there."""

    height: int | None = None
    width: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    center_crop: bool = True
    noise_scale: float = 1.0
    rope_scale_factor: float = 1.0
    rope_scale_watershed: float = 1.0
    generator: "Generators" = None


DEFAULT_OPTIONS = SamplingOptions()
"""Steps and guidance the task suggests, the size of the first image."""


def check_options(options: SamplingOptions, num_images_per_prompt: int = 1) -> None:
    """Raise ConfigError for options that no drawing can follow, without a model: see `check_numbers`."""
    check_numbers(
        (options.height, options.width),
        (options.num_inference_steps, num_images_per_prompt),
        options.guidance_scale,
        options.noise_scale,
        (options.rope_scale_factor, options.rope_scale_watershed),
    )


def draw(
    pipe: "OneDiffusionPipeline",
    task: str | Sequence[str],
    views: "Sequence[View]",
    prompt: "Prompts",
    negative_prompt: str,
    options: SamplingOptions,
    num_images_per_prompt: int = 1,
) -> "OneDiffusionPipelineOutput":
    """Return the output of one call of the pipeline with these options."""
    output = pipe(
        task,
        views,
        prompt,
        negative_prompt,
        height=options.height,
        width=options.width,
        num_inference_steps=options.num_inference_steps,
        guidance_scale=options.guidance_scale,
        num_images_per_prompt=num_images_per_prompt,
        center_crop=options.center_crop,
        noise_scale=options.noise_scale,
        rope_scale_factor=options.rope_scale_factor,
        rope_scale_watershed=options.rope_scale_watershed,
        generator=options.generator,
    )
    assert not isinstance(output, tuple), "only return_dict=False gives a tuple"
    return output
