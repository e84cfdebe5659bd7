"""Many views from one: anchors first, then short batches between them (paper, supplement section 9).

A model trained on a few frames cannot draw eighty at once. So a call makes the anchors, spread over the whole path,
from the input alone; every further call makes three neighbouring views from the input and the anchor nearest to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from onegen.errors import ConfigError
from onegen.geometry.cameras import Camera
from onegen.sampler.images import Picture, prepare, to_pil
from onegen.sampler.inputs import View
from onegen.sampler.options import DEFAULT_OPTIONS, SamplingOptions, draw

if TYPE_CHECKING:
    from onegen.sampler.pipeline_onediffusion import OneDiffusionPipeline


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
    pipe: "OneDiffusionPipeline",
    cameras: Sequence[Camera],
    image: Picture | None = None,
    prompt: str = "",
    negative_prompt: str = "",
    options: SamplingOptions = DEFAULT_OPTIONS,
    *,
    num_anchors: int = 3,
    batch_size: int = 3,
) -> list[Image.Image]:
    """Return one image per camera, in order; the first is `image` (at the size of the others) or drawn from the prompt.

    The first call draws `num_anchors` frames, each further one `batch_size`. Raises ConfigError as `plan_trajectory`
    and the pipeline do.
    """
    frames: dict[int, Any] = {} if image is None else {0: image}
    batches = plan_trajectory(len(cameras), num_anchors, batch_size)
    if image is None:
        batches[0] = Batch((), (0, *batches[0].generated))
    for batch in batches:
        order = batch.given + batch.generated
        views: list[View] = [view for frame in order for view in (frames.get(frame), cameras[frame])]
        output = draw(pipe, "multiview", views, prompt, negative_prompt, options)
        frames.update(zip(batch.generated, output.images, strict=True))
    if image is not None:
        across, down = frames[1].size
        frames[0] = to_pil((prepare(image, down, across, options.center_crop)[None] + 1) / 2)[0]
    return [frames[index] for index in range(len(cameras))]
