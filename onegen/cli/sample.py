"""`onegen sample`: every task of OneDiffusion from the command line, one function a job.

Tasks, pictures, words and the file to write are checked before a model is loaded; torch is imported when the first
picture is read, or the model, and not before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onegen.cli.device import DTYPES, find_device, find_dtype
from onegen.errors import ConfigError
from onegen.sampler.arrange import PicturePaths, arrange_frames, arrange_views, check_scene, make_prompt, make_rig
from onegen.sampler.options import SamplingOptions, draw
from onegen.tasks.table import TASKS, Task, find_tasks

if TYPE_CHECKING:
    from PIL import Image

    from onegen.geometry.cameras import Camera
    from onegen.sampler.pipeline_onediffusion import OneDiffusionPipeline

PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def sample(
    model: Annotated[str, typer.Option(help="model folder in the released layout, or hub id", metavar="PATH_OR_ID")],
    out: Annotated[Path, typer.Option(help="PNG to write; several images become out-00.png, out-01.png, ...")],
    task: Annotated[str, typer.Option(help=f"one of {', '.join(TASKS)}; or two joined by +")] = "text2image",
    prompt: Annotated[str, typer.Option(help="caption or instruction, or a whole prompt with its task token")] = "",
    image: Annotated[list[Path] | None, typer.Option(help="the image itself (multiview: frame by frame)")] = None,
    condition: Annotated[list[Path] | None, typer.Option(help="depth, edges, mask, low resolution, source ...")] = None,
    reference: Annotated[list[Path] | None, typer.Option(help="photo of the identity or subject; repeat")] = None,
    predict: Annotated[str, typer.Option(help="view to generate; default: the one not given", metavar="ROLE")] = "",
    caption: Annotated[list[str] | None, typer.Option(help="caption of each reference, in order; repeat")] = None,
    entity: Annotated[list[str] | None, typer.Option(help="'colour: label' of a map or box; repeat")] = None,
    item: Annotated[str, typer.Option(help="name of the subject (subject_driven)")] = "",
    azimuth: Annotated[str, typer.Option(help="degrees of each camera, such as 0,20,40", metavar="LIST")] = "",
    elevation: Annotated[str, typer.Option(help="degrees, one or one per camera", metavar="LIST")] = "0",
    distance: Annotated[str, typer.Option(help="from the subject, one or one per camera", metavar="LIST")] = "1.7",
    focal: Annotated[float, typer.Option(help="focal length over the image side")] = 1.3887,
    trajectory: Annotated[int, typer.Option(help="this many views between two azimuths (the paper: 80)")] = 0,
    negative_prompt: Annotated[str, typer.Option(help="what to steer away from")] = "",
    height: Annotated[int | None, typer.Option(help="pixels, divisible by 16; default by task and image")] = None,
    width: Annotated[int | None, typer.Option(help="pixels, divisible by 16")] = None,
    crop: Annotated[bool, typer.Option(help="crop images to the target's aspect, else stretch")] = True,
    steps: Annotated[int | None, typer.Option(help="default by task: 50 to 75")] = None,
    guidance: Annotated[float | None, typer.Option(help="default by task: 4, editing 3.2")] = None,
    num_images: Annotated[int, typer.Option(help="outputs from different noise")] = 1,
    seed: Annotated[int, typer.Option(help="seed of the noise")] = 0,
    noise_scale: Annotated[float, typer.Option(help="multiplies the tokens behind a dynamic shift")] = 1.0,
    rope_scale_factor: Annotated[float, typer.Option(help="1.1 to 1.5 for more views than trained")] = 1.0,
    rope_scale_watershed: Annotated[float, typer.Option(help="100 to 400, with the factor")] = 1.0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps")] = "cpu",
    dtype: Annotated[str, typer.Option(help=", ".join(DTYPES))] = "float32",
) -> None:
    """Generate images, conditions, views or cameras with a OneDiffusion model.

    A task has views: the image and its conditions. What you give is kept, what you leave out is generated.

    \b
    TEXT TO IMAGE
      --task text2image --prompt "a bay at dawn"
    IMAGE TO CONDITION, CONDITION TO IMAGE
      --task depth2image --image photo.jpg --predict depth
      --task depth2image --condition depth.png --predict image --prompt "a bay"
      --task hed2img | canny2image | pose2image (the same two ways)
      --task semanticmap2image --condition map.png --entity "red: cat"
          --entity "teal: sofa" --prompt "a cat naps"
      --task boundingbox2image --image photo.jpg --entity "red: cat"
    RESTORE AND EDIT
      --task deblurring --condition blurred.jpg
      --task image_inpainting --condition black_holes.png
      --task super_resolution --condition small.png
      --task image_editing --condition photo.jpg --prompt "make it snow"
    THE SAME PERSON OR THING
      --task faceid --reference a.png --reference b.png --prompt "a man sails"
          --caption "a man smiles" --caption "a man reads"
      --task subject_driven --reference mug.png --item mug
          --prompt "a mug on snow" --caption "a mug on a desk"
    VIEWS AND CAMERAS
      --task multiview --image x.png --azimuth 0,20,40,60
      --task multiview --azimuth 0,30,60 --prompt "a wooden boat"
      --task multiview --image x.png --azimuth -45,60 --trajectory 80
      --task multiview --image a.png --image b.png --predict ray --out poses.json
    COMBINATIONS (never trained; order matters)
      --task image_inpainting+faceid --condition holes.png --reference a.png
          --prompt "a man sails"
    """
    tasks = find_tasks(task)
    paths = PicturePaths(tuple(image or ()), tuple(condition or ()), tuple(reference or ()))
    options = SamplingOptions(
        height=height,
        width=width,
        num_inference_steps=steps,
        guidance_scale=guidance,
        center_crop=crop,
        noise_scale=noise_scale,
        rope_scale_factor=rope_scale_factor,
        rope_scale_watershed=rope_scale_watershed,
    )
    run = _Run(model, device, dtype, seed, prompt, negative_prompt, options, num_images, out)
    if tasks[0].repeats != "frame":
        if azimuth or trajectory:
            raise ConfigError(f"--azimuth and --trajectory must go with multiview, got {task!r}. Leave them out.")
        _draw_stills(run, tasks, paths, predict, caption or (), entity or (), item)
        return
    check_scene(paths, caption or (), entity or (), item, predict)
    rig = make_rig(azimuth, elevation, distance, focal, trajectory)
    if predict in ("ray", "camera"):
        _find_cameras(run, paths.images, rig, focal)
    elif trajectory:
        _draw_trajectory(run, paths.images, rig)
    else:
        _draw_scene(run, paths.images, rig)


@dataclass(frozen=True, slots=True)
class _Run:
    """What all jobs share: the model and where it runs, the words, how to draw, how often, and the file to write."""

    model: str
    device: str
    dtype: str
    seed: int
    prompt: str
    negative_prompt: str
    options: SamplingOptions
    num_images: int
    out: Path

    def check_out(self, suffixes: tuple[str, ...] = PICTURES) -> None:
        """Raise ConfigError unless a file of this kind can be written there."""
        if self.out.suffix.lower() not in suffixes:
            raise ConfigError(f"--out must end in {', '.join(suffixes)}, got {self.out}.")
        if not self.out.parent.is_dir():
            raise ConfigError(f"--out must be in a folder that exists, got {self.out}. Make {self.out.parent} first.")

    def check_single(self) -> None:
        """Raise ConfigError where several outputs are wanted of a job that has one."""
        if self.num_images != 1:
            raise ConfigError(
                f"--num-images must be 1 for cameras and trajectories, got {self.num_images}. Change --seed."
            )

    def load(self) -> tuple["OneDiffusionPipeline", SamplingOptions]:
        """Return the pipeline on its device, and the options with the noise, drawn on the CPU: one seed, one image."""
        dtype, device = find_dtype(self.dtype), find_device(self.device)
        import torch

        from onegen.sampler.pipeline_onediffusion import OneDiffusionPipeline

        pipe = OneDiffusionPipeline.from_pretrained(self.model, torch_dtype=dtype)
        return pipe.to(device), replace(self.options, generator=torch.Generator().manual_seed(self.seed))

    def write(self, images: Sequence["Image.Image"]) -> None:
        """Write one image under the given name, several with a running number; say which."""
        for index, image in enumerate(images):
            path = self.out if len(images) == 1 else self.out.with_stem(f"{self.out.stem}-{index:02d}")
            image.save(path)
            typer.echo(path)


def _draw_stills(
    run: _Run,
    tasks: Sequence[Task],
    paths: PicturePaths,
    predict: str,
    captions: Sequence[str],
    entities: Sequence[str],
    item: str,
) -> None:
    """Draw the views that are left out of one image and its conditions."""
    arranged = arrange_views(tasks, paths, predict)
    views = [None if path is None else _read(path) for path in arranged]
    prompt = make_prompt(tasks, run.prompt, captions, entities, item, len(views))
    run.check_out()
    pipe, options = run.load()
    names = [task.name for task in tasks]
    run.write(draw(pipe, names, views, prompt, run.negative_prompt, options, run.num_images).images)


def _draw_scene(run: _Run, paths: Sequence[Path], rig: Sequence["Camera"]) -> None:
    """Draw the frames of a scene that are left out, in one call."""
    frames = arrange_frames(paths, len(rig), most=len(rig) - 1)
    pictures = [None if path is None else _read(path) for path in frames]
    run.check_out()
    pipe, options = run.load()
    views = [view for frame in zip(pictures, rig, strict=True) for view in frame]
    run.write(draw(pipe, "multiview", views, run.prompt, run.negative_prompt, options, run.num_images).images)


def _draw_trajectory(run: _Run, paths: Sequence[Path], rig: Sequence["Camera"]) -> None:
    """Draw every frame of a path between two azimuths, more of them than one call can."""
    first = arrange_frames(paths, len(rig), most=1)[0]
    picture = None if first is None else _read(first)
    run.check_single()
    run.check_out()
    pipe, options = run.load()
    from onegen.sampler.trajectory import sample_trajectory

    run.write(sample_trajectory(pipe, rig, picture, run.prompt, run.negative_prompt, options))


def _find_cameras(run: _Run, paths: Sequence[Path], rig: Sequence["Camera"], focal: float) -> None:
    """Write the cameras of photos as JSON and, beside it, as a picture."""
    if rig or len(paths) < 2:
        raise ConfigError(f"cameras must be predicted from 2 or more images and no --azimuth, got {len(paths)} images.")
    pictures = [_read(path) for path in paths]
    run.check_single()
    run.check_out((".json",))
    pipe, options = run.load()
    from onegen.sampler.pose import estimate_cameras, name_cameras, plot_cameras, write_cameras

    estimates = estimate_cameras(pipe, pictures, run.prompt, run.negative_prompt, options, focal)
    cameras, plot = name_cameras(paths, estimates), run.out.with_suffix(".png")
    write_cameras(run.out, cameras, *pictures[0].size)
    plot_cameras(plot, cameras)
    typer.echo(run.out)
    typer.echo(plot)


def _read(path: Path) -> "Image.Image":
    from onegen.sampler.images import read_image

    return read_image(path)
