"""Sampling images, conditions and views from a trained OneDiffusion model.

`from onegen.sampler import OneDiffusionPipeline` imports torch at that moment; importing this package does not.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onegen.sampler.pipeline_onediffusion import OneDiffusionPipeline, OneDiffusionPipelineOutput

__all__ = ["OneDiffusionPipeline", "OneDiffusionPipelineOutput"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        import onegen.sampler.pipeline_onediffusion as pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
