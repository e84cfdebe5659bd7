"""Small stand-ins for the benchmarks' data, in their layouts, and pictures of which the right scores are known.

    python -m onegen.eval.synthetic DIR PHOTOS

writes below DIR: data/NAME for each protocol, truth/NAME (what a perfect model would draw), and a tiny model of random
weights. PHOTOS is where `python -m onegen.demo.photos` wrote its. `make eval` runs every protocol on them: that proves
the code, and says nothing about a model.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from PIL import Image

from onegen.eval.depth import MonocularDepth
from onegen.eval.identity import Identity
from onegen.eval.nvs import FIRST_TARGET, NUM_VIEWS
from onegen.eval.posed_objects import PosedObject, compared, write_object
from onegen.geometry.nerfstudio import to_nerfstudio
from onegen.geometry.rigs import make_rig
from onegen.scenes.renderers import make_renderer
from onegen.scenes.scene import RenderOptions, read_scene

_RENDERED = 256
_OBJECTS = ("cube", "ball")
_RAMP = (480, 640)
_MASK = [128 + 512 * row if part == 0 else 256 for row in range(128, 384) for part in (0, 1)]
"""Runs of a square of 256 pixels in the middle of 512."""
_SUBJECTS = {"cat": ("cat", "chelsea.png"), "mug": ("mug", "coffee.png")}
_PROMPTS = """Classes

subject_name,class
{classes}

Prompts

Object Prompts
prompt_list = [
'a {{0}} {{1}} on a wooden table'.format(unique_token, class_token),
'a blue {{0}} {{1}}'.format(unique_token, class_token)
]

Live Subject Prompts
prompt_list = [
'a {{0}} {{1}} on a sofa'.format(unique_token, class_token),
'a wet {{0}} {{1}}'.format(unique_token, class_token)
]
"""


def write_objects(data: Path, side: int = _RENDERED) -> None:
    """Write a box and a ball in many colours from all around, in EscherNet's layout, `side` pixels wide."""
    import trimesh

    data.mkdir(parents=True, exist_ok=True)
    renderer, rig = make_renderer("embree"), make_rig("gso30")
    shapes = {"cube": trimesh.creation.box((0.7, 0.7, 0.7)), "ball": trimesh.creation.icosphere(radius=0.45)}
    for number, name in enumerate(_OBJECTS):
        # Small faces, each of its own colour: every view shows something else.
        mesh = shapes[name].subdivide().subdivide() if name == "cube" else shapes[name]
        mesh.visual.face_colors = np.random.default_rng(number).integers(30, 256, (len(mesh.faces), 3))
        path = data / f"{name}.ply"
        mesh.export(path)
        cameras = rig.cameras(seed=number)
        views = renderer.render(read_scene(path, up="z"), cameras, RenderOptions(side, side))
        write_object(data, name, [np.dstack([view.colour, view.mask]) for view in views], cameras)
        path.unlink()


def write_nyuv2(data: Path, photos: Path) -> None:
    """Write two photos with a ramp of depth, 1 to 5 m from left to right, in NYUv2's layout, and their list."""
    ramp = np.broadcast_to(1 + 4 * np.arange(_RAMP[1]) / (_RAMP[1] - 1), _RAMP)
    lines = []
    for number, name in enumerate(("coffee.png", "rocket.jpg")):
        folder = data / "test" / f"room_{number:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.open(photos / name).convert("RGB").resize(_RAMP[::-1]).save(folder / "rgb_0001.png")
        millimetres = np.rint(ramp * 1000).astype(np.uint16)
        for kind in ("depth", "filled"):
            cv2.imwrite(str(folder / f"{kind}_0001.png"), millimetres)
        below = f"test/{folder.name}"
        lines.append(f"{below}/rgb_0001.png {below}/depth_0001.png {below}/filled_0001.png")
    (data / "filename_list_test.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_diode(data: Path, photos: Path) -> None:
    """Write one photo with a slope of depth, 2 to 60 m from below to above, in DIODE's layout, and its list."""
    size = (768, 1024)
    slope = np.broadcast_to(np.linspace(60, 2, size[0])[:, np.newaxis], size).astype(np.float32)
    below = "outdoor/scene_00022/scan_00193"
    (data / below).mkdir(parents=True, exist_ok=True)
    stem = f"{below}/00022_00193_outdoor_000_000"
    Image.open(photos / "rocket.jpg").convert("RGB").resize(size[::-1]).save(data / f"{stem}.png")
    np.save(data / f"{stem}_depth.npy", slope[..., np.newaxis])
    np.save(data / f"{stem}_depth_mask.npy", (slope < 50).astype(np.float32))
    line = f"{stem}.png {stem}_depth.npy {stem}_depth_mask.npy\n"
    (data / "diode_val_all_filename_list.txt").write_text(line, encoding="utf-8")


def write_pie(data: Path, photos: Path) -> None:
    """Write two photos of 512 pixels and PIE-Bench's mapping, the middle to be edited."""
    mapping = {}
    for number, name in enumerate(("chelsea.png", "coffee.png")):
        below = "1_change_object_80"
        path = data / "annotation_images" / below / f"11{number:010d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.open(photos / name).convert("RGB").resize((512, 512)).save(path)
        mapping[path.stem] = {
            "image_path": f"{below}/{path.name}",
            "original_prompt": "a [photo]",
            "editing_prompt": "a [painting]",
            "editing_instruction": "make the middle a painting",
            "editing_type_id": "1",
            "blended_word": "",
            "mask": _MASK,
        }
    (data / "mapping_file.json").write_text(json.dumps(mapping), encoding="utf-8")


def write_people(data: Path, photos: Path) -> None:
    """Write portraits of two persons, two of the one and one of the other."""
    for person, names in {"obama": ("obama.jpg", "obama2.jpg"), "biden": ("biden.jpg",)}.items():
        (data / person).mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(photos / name, data / person / name)


def write_subjects(data: Path, photos: Path) -> None:
    """Write two subjects, each in two crops of one photo, and DreamBench's list with prompts of our own."""
    folder = data / "dataset"
    for name, (_, photo) in _SUBJECTS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        picture = Image.open(photos / photo).convert("RGB").resize((320, 256))
        for number, left in enumerate((0, 64)):
            picture.crop((left, 0, left + 256, 256)).save(folder / name / f"{number:02d}.png")
    classes = "\n".join(f"{name},{cls}" for name, (cls, _) in _SUBJECTS.items())
    (folder / "prompts_and_classes.txt").write_text(_PROMPTS.format(classes=classes), encoding="utf-8")


def write_true_views(data: Path, out: Path) -> None:
    """Write the true views 10 to 24 as predictions."""
    for shape in _OBJECTS:
        thing = PosedObject(data, shape, ())
        (out / shape).mkdir(parents=True, exist_ok=True)
        for view in range(FIRST_TARGET, NUM_VIEWS):
            Image.fromarray(compared(thing.picture(view))).save(out / shape / f"{view:03d}.png")


def write_true_cameras(data: Path, out: Path) -> None:
    """Write the true cameras of the first six views as predictions."""
    out.mkdir(parents=True, exist_ok=True)
    for shape in _OBJECTS:
        thing = PosedObject(data, shape, ())
        cameras = {f"{view:03d}.png": thing.camera(view) for view in range(6)}
        (out / f"{shape}.json").write_text(json.dumps(to_nerfstudio(cameras, 512, 512)), encoding="utf-8")


def write_true_depth(data: Path, out: Path) -> None:
    """Write perfect inverse depth as predictions."""
    protocol = MonocularDepth(data=data)
    for unit in protocol.units():
        truth, _ = protocol.truth(_names(unit.name))
        path = out / unit.outputs[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, 3.0 / truth + 0.1)


def _names(rgb: str) -> tuple[str, ...]:
    return tuple(f"{rgb.replace('rgb_', f'{kind}_')}.png" for kind in ("rgb", "depth", "filled"))


def write_sources(data: Path, out: Path) -> None:
    """Write the photos themselves as edits."""
    shutil.copytree(data / "annotation_images", out, dirs_exist_ok=True)


def write_portraits(data: Path, out: Path) -> None:
    """Write each first portrait as what was drawn of it."""
    protocol = Identity(data=data, images=1, clip_prompts=False)
    for unit in protocol.units():
        for output in unit.outputs:
            (out / output).parent.mkdir(parents=True, exist_ok=True)
            portrait = sorted((data / unit.name).iterdir())[0]
            Image.open(portrait).convert("RGB").save(out / output)


DATA: Mapping[str, Callable[[Path, Path], None]] = {
    "objects": lambda data, photos: write_objects(data),
    "nyuv2": write_nyuv2,
    "diode": write_diode,
    "pie": write_pie,
    "people": write_people,
    "subjects": write_subjects,
}
"""What writes the stand-in of each set of data."""
TRUTHS: Mapping[str, tuple[str, Callable[[Path, Path], None]]] = {
    "nvs": ("objects", write_true_views),
    "cameras": ("objects", write_true_cameras),
    "depth": ("nyuv2", write_true_depth),
    "pie": ("pie", write_sources),
    "identity": ("people", write_portraits),
}
"""Of protocols whose perfect answer is known: the data, and what writes it."""


def main(
    folder: Annotated[Path, typer.Argument(help="where to write")],
    photos: Annotated[Path, typer.Argument(help="where onegen.demo.photos wrote its photos")],
) -> None:
    """Write stand-ins for all benchmarks, perfect answers to them, and a tiny model."""
    from onegen.sampler.tiny import random_pipeline

    for name, write in DATA.items():
        (folder / "data" / name).mkdir(parents=True, exist_ok=True)
        write(folder / "data" / name, photos)
    for name, (data, write_truth) in TRUTHS.items():
        write_truth(folder / "data" / data, folder / "truth" / name)
    if not (folder / "model").exists():
        random_pipeline().save_pretrained(folder / "model")
    typer.echo(f"wrote {', '.join(DATA)}, perfect answers to {', '.join(TRUTHS)} and a tiny model below {folder}")


if __name__ == "__main__":
    typer.run(main)
