"""Renders of objects with their cameras, as EscherNet lays out Google Scanned Objects; read, and written for ours.

OBJECT/render_mvs_25/model/000.png   RGBA, the ground transparent
OBJECT/render_mvs_25/model/000.npy   world-to-camera, (3,4), OpenGL camera axes, world z up, object at the origin
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from onegen.errors import ConfigError
from onegen.geometry.cameras import Camera, change_axes
from onegen.geometry.rigs import ZERO123_FOCAL

RENDERS = Path("render_mvs_25/model")
NUM_OBJECTS = 30
SIDE = 256
"""Pixels at which pictures are compared."""


@dataclass(frozen=True, slots=True)
class PosedObject:
    """An object of a folder: its name, and the numbers of its views."""

    root: Path
    name: str
    views: tuple[int, ...]

    def picture_path(self, view: int) -> Path:
        """Return the file of a view."""
        return self.root / self.name / RENDERS / f"{view:03d}.png"

    def camera_path(self, view: int) -> Path:
        """Return the file of a view's camera."""
        return self.picture_path(view).with_suffix(".npy")

    def camera(self, view: int) -> Camera:
        """Return the camera of a view; raises ConfigError for a file that holds none."""
        path = self.camera_path(view)
        try:
            matrix = np.vstack([np.load(path, allow_pickle=False)[:3, :4], [0.0, 0.0, 0.0, 1.0]]).astype(np.float64)
            to_world = np.linalg.inv(matrix)
            return Camera(change_axes(to_world, "opengl", "opencv"), (ZERO123_FOCAL, ZERO123_FOCAL))
        except (OSError, ValueError, IndexError, np.linalg.LinAlgError, ConfigError) as error:
            raise ConfigError(f"camera must be a (3,4) world-to-camera matrix, got {path}: {error}") from error

    def picture(self, view: int) -> Image.Image:
        """Return a view over white at its own size, RGB."""
        return over_white(self.picture_path(view))


def read_objects(root: Path, least_views: int) -> list[PosedObject]:
    """Return the objects of a folder, sorted; raises ConfigError for none, and for one with too few views."""
    objects = []
    for folder in sorted(path for path in root.iterdir() if (path / RENDERS).is_dir()):
        numbers = sorted(int(path.stem) for path in (folder / RENDERS).glob("[0-9][0-9][0-9].png"))
        found = PosedObject(root, folder.name, tuple(numbers))
        absent = [view for view in range(least_views) if view not in numbers or not found.camera_path(view).is_file()]
        if absent:
            raise ConfigError(
                f"object {folder.name} must have views 0 to {least_views - 1}, picture and camera, and lacks "
                f"{absent[0]:03d}."
            )
        objects.append(found)
    if not objects:
        raise ConfigError(f"--data must hold OBJECT/{RENDERS}/000.png and 000.npy, got {root} without any.")
    return objects


def objects_lacking(objects: Sequence[PosedObject]) -> str:
    """Return how many objects there are, empty for the 30 of GSO30."""
    return "" if len(objects) == NUM_OBJECTS else f"{len(objects)} objects, and GSO30 has {NUM_OBJECTS}"


def over_white(path: Path) -> Image.Image:
    """Return a render as RGB: white where it is wholly transparent, its own colours elsewhere, edges included.

    That is how EscherNet reads it: partial transparency is not composited.
    """
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGBA"))
    except (OSError, SyntaxError) as error:
        raise ConfigError(f"render must be a readable picture, got {path}: {error}") from error
    return Image.fromarray(np.where(pixels[..., 3:] == 0, np.uint8(255), pixels[..., :3]))


def compared(picture: Image.Image) -> np.ndarray:
    """Return a picture as it is compared: RGB uint8 (256,256,3), resized as Pillow does by default."""
    small = picture if picture.size == (SIDE, SIDE) else picture.convert("RGB").resize((SIDE, SIDE))
    return np.asarray(small.convert("RGB"))


def write_object(root: Path, name: str, renders: Sequence[np.ndarray], cameras: Sequence[Camera]) -> None:
    """Write renders, RGBA uint8 (H,W,4), with their cameras in this layout."""
    folder = root / name / RENDERS
    folder.mkdir(parents=True, exist_ok=True)
    for view, (render, camera) in enumerate(zip(renders, cameras, strict=True)):
        Image.fromarray(render).save(folder / f"{view:03d}.png")
        to_camera = np.linalg.inv(change_axes(camera.camera_to_world, "opencv", "opengl"))
        np.save(folder / f"{view:03d}.npy", to_camera[:3])
