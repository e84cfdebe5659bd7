"""`onegen sample`: every task of OneDiffusion from the command line, one function a job.

Tasks, pictures, words and the file to write are checked before a model is loaded; torch is imported when the first
picture is read, or the model, and not before.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onegen.cli.device import DTYPES, find_device, find_dtype, memory_explained
from onegen.cli.exit_codes import ExitCode
from onegen.errors import ConfigError, SampleError
from onegen.pixels.sizes import round_size
from onegen.sampler.arrange import PicturePaths, arrange_frames, arrange_views, check_scene, make_prompt, make_rig
from onegen.sampler.options import SamplingOptions, check_options, draw
from onegen.tasks.prompt import NEGATIVE_PROMPT, complete_prompt
from onegen.tasks.table import TASKS, Task, find_tasks, view_roles

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
    mask: Annotated[
        Path | None, typer.Option(help="image_inpainting: white where to paint, of the photo's size")
    ] = None,
    predict: Annotated[str, typer.Option(help="view to generate; default: the one not given", metavar="ROLE")] = "",
    caption: Annotated[list[str] | None, typer.Option(help="caption of each reference, in order; repeat")] = None,
    entity: Annotated[list[str] | None, typer.Option(help="'colour: label' of a map or box; repeat")] = None,
    item: Annotated[str, typer.Option(help="name of the subject (subject_driven)")] = "",
    azimuth: Annotated[str, typer.Option(help="degrees of each camera, such as 0,20,40", metavar="LIST")] = "",
    elevation: Annotated[str, typer.Option(help="degrees, one or one per camera", metavar="LIST")] = "0",
    distance: Annotated[str, typer.Option(help="from the subject, one or one per camera", metavar="LIST")] = "1.7",
    focal: Annotated[float, typer.Option(help="focal length over the image side")] = 1.3887,
    cameras: Annotated[
        Path | None, typer.Option(help="transforms.json of nerfstudio: a camera each frame, instead of --azimuth")
    ] = None,
    trajectory: Annotated[int, typer.Option(help="this many views between two azimuths (the paper: 80)")] = 0,
    negative_prompt: Annotated[
        str,
        typer.Option(
            "--negative-prompt", "--negative", help="what to steer away from; default: as the released docs do"
        ),
    ] = "",
    size: Annotated[str, typer.Option(help="input: of the first picture, to multiples of 16, uncropped")] = "",
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
) -> ExitCode:
    """Generate images, conditions, views or cameras with a OneDiffusion model.

    A task has views: the image and its conditions. What you give is kept, what you leave out is generated.

    \b
    TEXT TO IMAGE
      --task text2image --prompt "a bay at dawn"
    IMAGE TO CONDITION, CONDITION TO IMAGE
      --task depth2image --image photo.jpg --predict depth
      --task depth2image --image photo.jpg --size input (lies on its photo)
      --task depth2image --condition depth.png --predict image --prompt "a bay"
      --task hed2img | canny2image | pose2image (the same two ways)
      --task semanticmap2image --condition map.png --entity "red: cat"
          --entity "teal: sofa" --prompt "a cat naps"
      --task boundingbox2image --image photo.jpg --entity "red: cat"
    RESTORE AND EDIT
      --task deblurring --condition blurred.jpg
      --task image_inpainting --condition black_holes.png
      --task image_inpainting --condition photo.jpg --mask white_to_paint.png
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
      --task multiview --image x.png --cameras transforms.json
      --task multiview --image x.png --azimuth -45,60 --trajectory 80
      --task multiview --image a.png --image b.png --predict ray --out poses.json
    COMBINATIONS (never trained; order matters)
      --task image_inpainting+faceid --condition holes.png --reference a.png
          --prompt "a man sails"
    """
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
    negative = NEGATIVE_PROMPT if negative_prompt == "default" else negative_prompt
    run = _Run(model, device, dtype, seed, prompt, negative, options, size, num_images, out)
    paths = PicturePaths(tuple(image or ()), tuple(condition or ()), tuple(reference or ()))
    words = _Words(tuple(caption or ()), tuple(entity or ()), item)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: typer.echo(f"warning: {message}", err=True)
            run.check()
            tasks = find_tasks(task)
            if tasks[0].repeats != "frame":
                if azimuth or trajectory or cameras:
                    raise ConfigError(
                        f"--azimuth, --cameras and --trajectory must go with multiview, got {task!r}. Leave them out."
                    )
                _draw_stills(run, tasks, paths, mask, predict, words)
            else:
                if mask is not None:
                    raise ConfigError(f"--mask must go with image_inpainting, got {task!r}. Leave it out.")
                check_scene(paths, words.captions, words.entities, words.item, predict)
                rig = make_rig(azimuth, elevation, distance, focal, trajectory, cameras)
                if predict in ("ray", "camera"):
                    _find_cameras(run, tasks, paths.images, rig, focal)
                elif trajectory:
                    _draw_trajectory(run, tasks, paths.images, rig)
                else:
                    _draw_scene(run, tasks, paths.images, rig)
    except KeyboardInterrupt:
        typer.echo("\nstopped; only the files named above were written.", err=True)
        return ExitCode.INTERRUPTED
    return ExitCode.DONE


@dataclass(frozen=True, slots=True)
class _Words:
    """What is said beside the prompt: captions of references, entities of a map, the name of a subject."""

    captions: tuple[str, ...]
    entities: tuple[str, ...]
    item: str


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
    size: str
    num_images: int
    out: Path

    def check(self) -> None:
        """Raise ConfigError for options that no drawing can follow, whatever its task."""
        check_options(self.options, self.num_images)
        if not 0 <= self.seed < 2**64:
            raise ConfigError(f"--seed must be between 0 and 2**64 - 1, got {self.seed}. Equal seeds, equal images.")
        if self.size not in ("", "input"):
            raise ConfigError(f"--size must be input, got {self.size!r}. Give other sizes with --height and --width.")
        if self.size and self.options.height is not None:
            raise ConfigError("--size must be left out where --height and --width are given, got both.")

    def outputs(self, count: int) -> list[Path]:
        """Return the files of `count` images: the given name for one, numbered names for several."""
        return [self.out] if count == 1 else [self.out.with_stem(f"{self.out.stem}-{i:02d}") for i in range(count)]

    def check_out(self, outputs: Sequence[Path], suffixes: tuple[str, ...] = PICTURES) -> None:
        """Raise ConfigError unless a file of this kind can be written under each of these names."""
        if self.out.suffix.lower() not in suffixes:
            raise ConfigError(f"--out must end in {', '.join(suffixes)}, got {self.out}.")
        if not self.out.parent.is_dir():
            raise ConfigError(f"--out must be in a folder that exists, got {self.out}. Make {self.out.parent} first.")
        for path in outputs:
            try:
                # tried, as permissions alone do not tell of disks that are full, read-only or refuse the name
                is_new = not path.exists()
                path.open("ab").close()
                if is_new:
                    path.unlink()
            except IsADirectoryError:
                raise ConfigError(
                    f"--out must be a file, got the folder {path}. Name a file in it: {path / 'out.png'}."
                ) from None
            except OSError as error:
                raise _unwritable(path, error) from error

    def check_single(self) -> None:
        """Raise ConfigError where several outputs are wanted of a job that has one."""
        if self.num_images != 1:
            raise ConfigError(
                f"--num-images must be 1 for cameras and trajectories, got {self.num_images}. Change --seed."
            )

    def load(self, pictures: Sequence["Image.Image | None"]) -> tuple["OneDiffusionPipeline", SamplingOptions]:
        """Return the pipeline on its device, and the options completed.

        The noise is drawn on the CPU: one seed, one image. `--size input` is that of the first of the pictures.
        """
        options = self._sized(next((picture for picture in pictures if picture is not None), None))
        dtype, device = find_dtype(self.dtype), find_device(self.device)
        import torch

        from onegen.sampler.pipeline_onediffusion import OneDiffusionPipeline

        pipe = OneDiffusionPipeline.from_pretrained(self.model, torch_dtype=dtype)
        return pipe.to(device), replace(options, generator=torch.Generator().manual_seed(self.seed))

    def _sized(self, picture: "Image.Image | None") -> SamplingOptions:
        if not self.size:
            return self.options
        if picture is None:
            raise ConfigError(
                "--size input must have a picture to take its size from, got none. Use --height, --width."
            )
        height, width = round_size(picture.height, picture.width)
        # stretched by less than 16 pixels and not cropped: a map lies on its photo to the edge
        return replace(self.options, height=height, width=width, center_crop=False)

    def write(self, images: Sequence["Image.Image"]) -> None:
        """Write the images to their files; say which."""
        for path, image in zip(self.outputs(len(images)), images, strict=True):
            try:
                image.save(path)
            except OSError as error:
                raise _unwritable(path, error) from error
            typer.echo(path)


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"--out must be writable, got {path}: {error.strerror or error}. Name another file.")


def _draw_stills(
    run: _Run, tasks: Sequence[Task], paths: PicturePaths, mask: Path | None, predict: str, words: _Words
) -> None:
    """Draw the views that are left out of one image and its conditions."""
    if mask is not None:
        paths = _as_condition(tasks, paths)
    arranged = arrange_views(tasks, paths, predict)
    roles = view_roles(tasks, len(arranged))
    prompt = make_prompt(tasks, run.prompt, words.captions, words.entities, words.item, len(arranged))
    complete_prompt(tasks, prompt, len(arranged))
    run.check_out(run.outputs(arranged.count(None) * run.num_images))
    views = [None if path is None else _read(path, role, mask) for path, role in zip(arranged, roles, strict=True)]
    names = [task.name for task in tasks]
    with memory_explained(run.device):
        pipe, options = run.load(views)
        output = draw(pipe, names, views, prompt, run.negative_prompt, options, run.num_images)
    run.write(output.images)


def _as_condition(tasks: Sequence[Task], paths: PicturePaths) -> PicturePaths:
    """Return the pictures of an inpainting with the photo among the conditions, where users may call it the image."""
    if "image_inpainting" not in [task.name for task in tasks]:
        raise ConfigError(f"--mask must go with image_inpainting, got {'+'.join(task.name for task in tasks)!r}.")
    return replace(paths, images=(), conditions=(*paths.images, *paths.conditions))


def _draw_scene(run: _Run, tasks: Sequence[Task], paths: Sequence[Path], rig: Sequence["Camera"]) -> None:
    """Draw the frames of a scene that are left out, in one call."""
    frames = arrange_frames(paths, len(rig), most=len(rig) - 1)
    complete_prompt(tasks, run.prompt, 2 * len(rig))
    run.check_out(run.outputs(frames.count(None) * run.num_images))
    pictures = [None if path is None else _read(path) for path in frames]
    views = [view for frame in zip(pictures, rig, strict=True) for view in frame]
    with memory_explained(run.device):
        pipe, options = run.load(pictures)
        output = draw(pipe, "multiview", views, run.prompt, run.negative_prompt, options, run.num_images)
    run.write(output.images)


def _draw_trajectory(run: _Run, tasks: Sequence[Task], paths: Sequence[Path], rig: Sequence["Camera"]) -> None:
    """Draw every frame of a path between two azimuths, more of them than one call can."""
    first = arrange_frames(paths, len(rig), most=1)[0]
    run.check_single()
    complete_prompt(tasks, run.prompt, 2 * len(rig))
    run.check_out(run.outputs(len(rig)))
    picture = None if first is None else _read(first)
    with memory_explained(run.device):
        pipe, options = run.load([picture])
        from onegen.sampler.trajectory import sample_trajectory

        images = sample_trajectory(pipe, rig, picture, run.prompt, run.negative_prompt, options)
    run.write(images)


def _find_cameras(
    run: _Run, tasks: Sequence[Task], paths: Sequence[Path], rig: Sequence["Camera"], focal: float
) -> None:
    """Write the cameras of photos as JSON and, beside it, as a picture."""
    if rig or len(paths) < 2:
        raise ConfigError(
            f"cameras must be predicted from 2 or more images and no --azimuth or --cameras, got {len(paths)} images."
        )
    from onegen.geometry.cameras import check_focal

    check_focal((focal, focal))
    run.check_single()
    complete_prompt(tasks, run.prompt, 2 * len(paths))
    plot = run.out.with_suffix(".png")
    run.check_out((run.out, plot), (".json",))
    pictures = [_read(path) for path in paths]
    with memory_explained(run.device):
        pipe, options = run.load(pictures)
        from onegen.sampler.pose import estimate_cameras, name_cameras, plot_cameras, write_cameras

        try:
            estimates = estimate_cameras(pipe, pictures, run.prompt, run.negative_prompt, options, focal)
        except SampleError as error:
            raise ConfigError(f"{error} The photos gave no cameras: try another --seed or more --steps.") from error
    cameras = name_cameras(paths, estimates)
    try:
        write_cameras(run.out, cameras, *pictures[0].size)
        plot_cameras(plot, cameras)
    except OSError as error:
        raise _unwritable(run.out, error) from error
    typer.echo(run.out)
    typer.echo(plot)


def _read(path: Path, role: str = "image", mask: Path | None = None) -> "Image.Image":
    """Return the picture in a file as a view of this role, with the holes of a mask where it is the one to fill."""
    from onegen.sampler.images import paint_holes, read_image

    picture = read_image(path, role)
    return picture if mask is None or role != "masked" else paint_holes(picture, read_image(mask, role))
