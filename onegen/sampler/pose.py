"""Where were these photos taken from? Cameras from the rays the model generates, as JSON and as a picture.

The paper denoises the rays of six photos and fits cameras by least squares (docs/onediffusion.md).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onegen.geometry.cameras import DEFAULT_FOCAL, Camera
from onegen.geometry.nerfstudio import to_nerfstudio
from onegen.geometry.rays import rays_to_cameras
from onegen.sampler.images import Picture
from onegen.sampler.inputs import View
from onegen.sampler.options import DEFAULT_OPTIONS, SamplingOptions, draw

if TYPE_CHECKING:
    from onegen.sampler.pipeline_onediffusion import OneDiffusionPipeline


def estimate_cameras(
    pipe: "OneDiffusionPipeline",
    images: Sequence[Picture],
    prompt: str = "",
    negative_prompt: str = "",
    options: SamplingOptions = DEFAULT_OPTIONS,
    focal: float = DEFAULT_FOCAL,
) -> list[Camera]:
    """Return one camera per image, the first the identity, lengths in the model's units.

    The subject is 1.7 units away from the first camera. All images share `focal`, the focal length over the shorter
    side. Raises SampleError when the generated rays have no camera.
    """
    views: list[View] = [view for image in images for view in (image, None)]
    output = draw(pipe, "multiview", views, prompt, negative_prompt, options)
    assert output.rays is not None, "the rays are the views left out"
    return rays_to_cameras(output.rays[0], (focal, focal))


def name_cameras(paths: Sequence[Path], cameras: Sequence[Camera]) -> dict[str, Camera]:
    """Return the cameras by the path of their image; a file given several times is numbered (`a.png#0`)."""
    names = [str(path) if paths.count(path) == 1 else f"{path}#{index}" for index, path in enumerate(paths)]
    return dict(zip(names, cameras, strict=True))


def write_cameras(path: Path, cameras: Mapping[str, Camera], width: int, height: int) -> None:
    """Write cameras by image path as a nerfstudio `transforms.json` (OpenGL camera-to-world matrices)."""
    path.write_text(json.dumps(to_nerfstudio(cameras, width, height), indent=2) + "\n")


def frustum(camera: Camera, depth: float, aspect: float = 1.0) -> np.ndarray:
    """Return the corners (5, 3) of a camera's pyramid in the world: its centre, then the image's corners at `depth`."""
    x, y = 0.5 / camera.focal[0] * max(aspect, 1.0), 0.5 / camera.focal[1] * max(1 / aspect, 1.0)
    corners = np.array([[0, 0, 0], [-x, -y, 1], [x, -y, 1], [x, y, 1], [-x, y, 1]]) * depth
    return corners @ camera.camera_to_world[:3, :3].T + camera.center


def plot_cameras(path: Path, cameras: Mapping[str, Camera], aspect: float = 1.0) -> None:
    """Write a 3-D picture of cameras as PNG: a pyramid each with its file's name, from behind and above the first."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    centers = np.stack([camera.center for camera in cameras.values()])
    size = max(0.3, 0.25 * float(np.ptp(centers, axis=0).max()))
    figure = Figure(figsize=(7, 7), dpi=110)
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot(projection="3d")
    pyramids = []
    for index, (name, camera) in enumerate(cameras.items()):
        # OpenCV's axes (y down, z forward) to the plot's (z up)
        points = frustum(camera, size, aspect)[:, [0, 2, 1]] * [1, 1, -1]
        pyramids.append(points)
        outline = points[[1, 2, 3, 4, 1, 0, 2, 0, 3, 0, 4]]
        axes.plot(*outline.T, color=f"C{index % 10}", linewidth=1.4)
        axes.text(*points[0], f" {Path(name).name}", fontsize=8)
    everything = np.concatenate(pyramids)
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
