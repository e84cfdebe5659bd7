"""`onegen sample`: every task of OneDiffusion from the command line. Torch is imported when sampling starts, not
before.

    python -m onegen.cli.sample --model MODEL --task text2image --prompt "a bay at dawn" --out out.png
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from onegen.errors import ConfigError
from onegen.sampler.arrange import Given, arrange_views, make_prompt, parse_numbers, spread
from onegen.tasks.prompt import Prompt
from onegen.tasks.table import TASKS, find_tasks

DTYPES = ("float32", "bfloat16", "float16")
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
    given = Given(tuple(image or ()), tuple(condition or ()), tuple(reference or ()))
    is_scene, wants_cameras = tasks[0].repeats == "frame", predict in ("ray", "camera")
    rig: list[Any] = []
    text: str | Prompt = prompt
    if is_scene:
        _refuse_for_scenes(given, caption, entity, item, predict)
        rig = _rig(azimuth, elevation, distance, focal, trajectory)
        _check_frames(len(given.images), len(rig), wants_cameras, trajectory)
        pictures = [_read(path) for path in given.images]
        frames = pictures + [None] * (len(rig) - len(pictures))
        views = [view for pair in zip(frames, rig, strict=False) for view in pair]
    else:
        if azimuth or trajectory:
            raise ConfigError(f"--azimuth and --trajectory must go with multiview, got {task!r}. Leave them out.")
        paths = arrange_views(tasks, given, predict)
        views = [None if path is None else _read(path) for path in paths]
        text = make_prompt(tasks, prompt, caption or (), entity or (), item, len(paths))
    if num_images != 1 and is_scene and (wants_cameras or trajectory):
        raise ConfigError(f"--num-images must be 1 for cameras and trajectories, got {num_images}. Change --seed.")
    _check_out(out, (".json",) if is_scene and wants_cameras else PICTURES)

    pipe, generator = _load(model, device, dtype, seed)
    options: dict[str, Any] = {
        "height": height,
        "width": width,
        "center_crop": crop,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "generator": generator,
    }
    rope: dict[str, Any] = {"rope_scale_factor": rope_scale_factor, "rope_scale_watershed": rope_scale_watershed}
    if is_scene and wants_cameras:
        _write_cameras(pipe, given.images, pictures, prompt, focal, options, out)
    elif trajectory:
        from onegen.sampler.trajectory import sample_trajectory

        first = pictures[0] if pictures else None
        _write_images(sample_trajectory(pipe, rig, first, prompt, negative_prompt, **options, **rope), out)
    else:
        drawn = pipe(
            [each.name for each in tasks],
            views,
            text,
            negative_prompt,
            **options,
            **rope,
            num_images_per_prompt=num_images,
            noise_scale=noise_scale,
        )
        _write_images(drawn.images, out)


def _refuse_for_scenes(
    given: Given, caption: list[str] | None, entity: list[str] | None, item: str, predict: str
) -> None:
    for option, value in (
        ("--condition", given.conditions),
        ("--reference", given.references),
        ("--caption", caption),
        ("--entity", entity),
        ("--item", item),
    ):
        if value:
            raise ConfigError(f"{option} must be left out for multiview, got {value}. Give frames with --image.")
    if predict not in ("", "image", "ray", "camera"):
        raise ConfigError(f"--predict of 'multiview' must be image or ray, got {predict!r}.")


def _rig(azimuth: str, elevation: str, distance: str, focal: float, trajectory: int) -> list[Any]:
    """Return the cameras of the frames, or none where no azimuth is given."""
    if not azimuth:
        if trajectory:
            raise ConfigError("--trajectory must have two azimuths to go between, got none. Add --azimuth -45,60.")
        return []
    from onegen.geometry.cameras import orbit

    azimuths = parse_numbers(azimuth, 2 if trajectory else 0, "--azimuth")
    count = len(azimuths)
    elevations = parse_numbers(elevation, count, "--elevation")
    distances = parse_numbers(distance, count, "--distance")
    if trajectory:
        if trajectory < 2:
            raise ConfigError(f"--trajectory must be at least 2 views, got {trajectory}.")
        azimuths, elevations, distances = (
            spread(ends[0], ends[1], trajectory) for ends in (azimuths, elevations, distances)
        )
    return [orbit(*angles, focal) for angles in zip(azimuths, elevations, distances, strict=True)]


def _check_frames(num_images: int, num_cameras: int, wants_cameras: bool, trajectory: int) -> None:
    if wants_cameras:
        if num_cameras or num_images < 2:
            raise ConfigError(
                f"cameras must be predicted from 2 or more images and no --azimuth, got {num_images} images."
            )
    elif not num_cameras:
        raise ConfigError("multiview must have --azimuth (views to generate) or --predict ray (cameras), got neither.")
    elif num_images >= num_cameras or (trajectory and num_images > 1):
        most = 1 if trajectory else num_cameras - 1
        raise ConfigError(f"images of these {num_cameras} cameras must be at most {most}, got {num_images}.")


def _check_out(out: Path, suffixes: tuple[str, ...]) -> None:
    if out.suffix.lower() not in suffixes:
        raise ConfigError(f"--out must end in {', '.join(suffixes)}, got {out}.")
    if not out.parent.is_dir():
        raise ConfigError(f"--out must be in a folder that exists, got {out}. Make {out.parent} first.")


def _read(path: Path) -> Any:
    from onegen.sampler.images import read_image

    return read_image(path)


def _load(model: str, device: str, dtype: str, seed: int) -> tuple[Any, Any]:
    """Return the pipeline on its device, and the generator of the noise (always on the CPU: one seed, one image)."""
    if dtype not in DTYPES:
        raise ConfigError(f"--dtype must be one of {', '.join(DTYPES)}, got {dtype!r}.")
    import torch

    _check_device(device)
    from onegen.sampler.pipeline_onediffusion import OneDiffusionPipeline

    pipe = OneDiffusionPipeline.from_pretrained(model, torch_dtype=getattr(torch, dtype))
    return pipe.to(device), torch.Generator().manual_seed(seed)


def _check_device(device: str) -> None:
    """Raise ConfigError unless this machine has the device."""
    import torch

    try:
        kind = torch.device(device)
    except RuntimeError:
        raise ConfigError(f"--device must be cpu, cuda, cuda:N or mps, got {device!r}.") from None
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    available = counts.get(kind.type, 0)
    if (kind.index or 0) >= available:
        raise ConfigError(
            f"--device {device} must be present, this machine has {available} of {kind.type}. Use --device cpu."
        )


def _write_images(images: list[Any], out: Path) -> None:
    """Write one image under the given name, several with a running number; say which."""
    for index, image in enumerate(images):
        path = out if len(images) == 1 else out.with_stem(f"{out.stem}-{index:02d}")
        image.save(path)
        typer.echo(path)


def _write_cameras(
    pipe: Any,
    paths: tuple[Path, ...],
    pictures: list[Any],
    prompt: str,
    focal: float,
    options: dict[str, Any],
    out: Path,
) -> None:
    """Write the cameras of photos as JSON and, beside it, as a picture."""
    from onegen.sampler.pose import estimate_cameras, plot_cameras, write_cameras

    found = estimate_cameras(pipe, pictures, prompt, focal=focal, **options)
    # the same file may be given twice, and names key the document
    cameras = {str(path) if paths.count(path) == 1 else f"{path}#{i}": found[i] for i, path in enumerate(paths)}
    width, height = pictures[0].size
    write_cameras(out, cameras, width, height)
    plot = out.with_suffix(".png")
    plot_cameras(plot, {Path(name).name: camera for name, camera in cameras.items()})
    typer.echo(out)
    typer.echo(plot)


def main() -> None:
    """Run the command alone, errors of the user without a traceback."""
    try:
        typer.run(sample)
    except ConfigError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
