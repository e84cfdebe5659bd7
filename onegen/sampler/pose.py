"""Where were these photos taken from? Cameras from the rays the model generates, as JSON and as a picture.

The paper denoises the rays of six photos and fits cameras by least squares (spec section 3.5).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onegen.geometry.cameras import DEFAULT_FOCAL, Camera, to_nerfstudio
from onegen.geometry.rays import rays_to_cameras
from onegen.sampler.images import Picture


def estimate_cameras(
    pipe: Any,
    images: Sequence[Picture],
    prompt: str = "",
    *,
    height: int | None = None,
    width: int | None = None,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    center_crop: bool = True,
    generator: Any = None,
    focal: float = DEFAULT_FOCAL,
) -> list[Camera]:
    """Return one camera per image, the first the identity, lengths in the model's units (1.7 is the subject's
    distance).

    All images share `focal`. The other arguments are those of `OneDiffusionPipeline.__call__`. Raises SampleError
    when the generated rays have no camera.
    """
    drawn = pipe(
        "multiview",
        [view for image in images for view in (image, None)],
        prompt,
        height=height,
        width=width,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        center_crop=center_crop,
        generator=generator,
    )
    return rays_to_cameras(drawn.rays[0], (focal, focal))


def write_cameras(path: Path, cameras: Mapping[str, Camera], width: int, height: int) -> None:
    """Write cameras by image name as a nerfstudio `transforms.json` (OpenGL camera-to-world matrices)."""
    path.write_text(json.dumps(to_nerfstudio(cameras, width, height), indent=2) + "\n")


def frustum(camera: Camera, depth: float, aspect: float = 1.0) -> np.ndarray:
    """Return the corners (5, 3) of a camera's pyramid in the world: its centre, then the image's corners at `depth`."""
    x, y = 0.5 / camera.focal[0] * max(aspect, 1.0), 0.5 / camera.focal[1] * max(1 / aspect, 1.0)
    corners = np.array([[0, 0, 0], [-x, -y, 1], [x, -y, 1], [x, y, 1], [-x, y, 1]]) * depth
    return corners @ camera.camera_to_world[:3, :3].T + camera.center


def plot_cameras(path: Path, cameras: Mapping[str, Camera], aspect: float = 1.0) -> None:
    """Write a 3-D picture of cameras as PNG: one pyramid each, named, seen from behind and above the first one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    centers = np.stack([camera.center for camera in cameras.values()])
    size = max(0.3, 0.25 * float(np.ptp(centers, axis=0).max()))
    figure = Figure(figsize=(7, 7), dpi=110)
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot(projection="3d")
    drawn = []
    for index, (name, camera) in enumerate(cameras.items()):
        # OpenCV's axes (y down, z forward) to the plot's (z up)
        points = frustum(camera, size, aspect)[:, [0, 2, 1]] * [1, 1, -1]
        drawn.append(points)
        path_through = points[[1, 2, 3, 4, 1, 0, 2, 0, 3, 0, 4]]
        axes.plot(*path_through.T, color=f"C{index % 10}", linewidth=1.4)
        axes.text(*points[0], f" {name}", fontsize=8)
    everything = np.concatenate(drawn)
    middle, radius = (everything.min(0) + everything.max(0)) / 2, float(np.ptp(everything, axis=0).max()) / 2
    for axis, center in zip("xyz", middle, strict=True):
        getattr(axes, f"set_{axis}lim")(center - radius, center + radius)
    axes.set_box_aspect((1, 1, 1))
    axes.set_xlabel("right")
    axes.set_ylabel("forward")
    axes.set_zlabel("up")
    axes.set_title("cameras in the frame of the first")
    axes.view_init(elev=28, azim=-65)
    figure.savefig(path)
