"""Many views from one: anchors first, then short batches between them (paper, supplement section 9).

A model trained on a few frames cannot draw eighty at once. So a call makes the anchors, spread over the whole path,
from the input alone; every further call makes three neighbouring views from the input and the anchor nearest to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from onegen.errors import ConfigError
from onegen.geometry.cameras import Camera
from onegen.sampler.images import Picture, prepare, to_pil


@dataclass(frozen=True, slots=True)
class Batch:
    """One call: the frames it is given, the first of them fixing the coordinates, and the frames it generates."""

    given: tuple[int, ...]
    generated: tuple[int, ...]


def plan_trajectory(num_frames: int, num_anchors: int = 3, batch_size: int = 3) -> list[Batch]:
    """Return the calls that make frames 1 .. num_frames - 1 from frame 0.

    Anchors are evenly spaced and the last frame is one of them. Each frame is generated once. Raises ConfigError
    below two frames, one anchor or batches of one.
    """
    if num_frames < 2 or num_anchors < 1 or batch_size < 1:
        raise ConfigError(
            f"trajectory must have at least 2 frames, 1 anchor and 1 frame per batch, "
            f"got {num_frames}, {num_anchors} and {batch_size}."
        )
    last = num_frames - 1
    anchors = sorted({max(1, round(k * last / num_anchors)) for k in range(1, num_anchors + 1)})
    rest = [frame for frame in range(1, num_frames) if frame not in anchors]
    batches = [Batch((0,), tuple(anchors))]
    for start in range(0, len(rest), batch_size):
        frames = tuple(rest[start : start + batch_size])
        middle = sum(frames) / len(frames)
        batches.append(Batch((0, min(anchors, key=lambda anchor: abs(anchor - middle))), frames))
    return batches


def sample_trajectory(
    pipe: Any,
    cameras: Sequence[Camera],
    image: Picture | None = None,
    prompt: str = "",
    negative_prompt: str = "",
    *,
    num_anchors: int = 3,
    batch_size: int = 3,
    height: int | None = None,
    width: int | None = None,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    center_crop: bool = True,
    rope_scale_factor: float = 1.0,
    rope_scale_watershed: float = 1.0,
    generator: Any = None,
) -> list[Image.Image]:
    """Return one image per camera, in order; the first is `image` (at the size of the others) or drawn from the prompt.

    The other arguments are those of `OneDiffusionPipeline.__call__`.
    """
    frames: dict[int, Any] = {} if image is None else {0: image}
    made: list[Batch] = plan_trajectory(len(cameras), num_anchors, batch_size)
    if image is None:
        made[0] = Batch((), (0, *made[0].generated))
    for batch in made:
        order = batch.given + batch.generated
        views = [view for frame in order for view in (frames.get(frame), cameras[frame])]
        drawn = pipe(
            "multiview",
            views,
            prompt,
            negative_prompt,
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            center_crop=center_crop,
            rope_scale_factor=rope_scale_factor,
            rope_scale_watershed=rope_scale_watershed,
            generator=generator,
        )
        frames.update(zip(batch.generated, drawn.images, strict=True))
    if image is not None:
        across, down = frames[1].size
        frames[0] = to_pil((prepare(image, down, across, center_crop)[None] + 1) / 2)[0]
    return [frames[index] for index in range(len(cameras))]
