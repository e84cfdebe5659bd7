"""What training scenes are made of: textures, photo cut-outs and meshes out of pinned packages of free licences.

scikit-image (CC0 and public-domain pictures), gradio (Apache-2.0), robosuite (MIT) and genesis-world (Apache-2.0). No
photo that the depth annotator is judged by is among them, and no person.
"""

import functools
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from onegen.annotators.shared.dino_tokens import saliency
from onegen.demo.photos import PHOTOS
from onegen.pixels.sizes import fit
from onegen.weights.packages import Package, download

ROBOSUITE = Package("robosuite", "1.5.2", "b9e02df55de8949739de6ba1d196d2ba59cf33c51a76efcfbe5c2f73cdcf99ce", 156.8)
GENESIS = Package("genesis-world", "1.4.5", "7ce8fcc8b0af9a87907e550b5f373b27af3f6ca622e843ce12dc51e8a93a03fd", 83.6)
_SKIMAGE, _GRADIO = (next(p for p in PHOTOS if p.name == name) for name in ("scikit-image", "gradio"))

_TEXTURES = "robosuite/models/assets/textures/"
_OBJECTS = "robosuite/models/assets/objects/meshes/"
_MESHES = "genesis/assets/meshes/"
_IMAGES = "gradio/media_assets/images/"
_CUT_OUTS = ("cheetah", "cheetah1", "lion")  # their subject is found by saliency
_MODELS = {
    "bread": (ROBOSUITE, f"{_OBJECTS}bread.obj", f"{_TEXTURES}bread.png"),
    "can": (ROBOSUITE, f"{_OBJECTS}can.obj", f"{_TEXTURES}can.png"),
    "cereal": (ROBOSUITE, f"{_OBJECTS}cereal.obj", f"{_TEXTURES}cereal.png"),
    "lemon": (ROBOSUITE, f"{_OBJECTS}lemon.obj", f"{_TEXTURES}lemon.png"),
    "bottle": (ROBOSUITE, f"{_OBJECTS}bottle.obj", f"{_TEXTURES}glass.png"),
    "milk": (ROBOSUITE, f"{_OBJECTS}milk.obj", f"{_TEXTURES}ceramic.png"),
    "boat": (GENESIS, f"{_MESHES}boat/boat.obj", f"{_MESHES}boat/material_10.png"),
    "worm": (GENESIS, f"{_MESHES}worm/worm.obj", f"{_MESHES}worm/bdy_Base_Color.png"),
    "bathtub": (GENESIS, f"{_MESHES}bathtub/bathtub.obj", f"{_TEXTURES}ceramic.png"),
    "airplane": (GENESIS, f"{_MESHES}Airplane/airplane.obj", f"{_TEXTURES}metal.png"),
    "dragon": (GENESIS, f"{_MESHES}dragon/dragon.obj", f"{_MESHES}dragon/material_0.png"),
    "duck": (GENESIS, f"{_MESHES}duck/duck.obj", f"{_MESHES}duck/material_0.png"),
}
_HELD_OUT = {"milk", "dragon", "duck", "white-bricks", "wood-tiles", "dirt", "clay", "pink-plaster", "cheetah1"}
"""Material that only the evaluation's scenes are made of."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """A mesh as points on its surface within the unit cube [-1, 1]: positions, normals (N,3), and RGB in 0 to 1."""

    points: np.ndarray
    normals: np.ndarray
    colours: np.ndarray


@dataclass(frozen=True, slots=True)
class Materials:
    """`textures` and `backdrops` are RGB float32 (H,W,3) in 0 to 1, `cut_outs` RGBA; `clouds` are meshes."""

    textures: tuple[np.ndarray, ...]
    backdrops: tuple[np.ndarray, ...]
    cut_outs: tuple[np.ndarray, ...]
    clouds: tuple[Cloud, ...]


@functools.lru_cache(maxsize=2)
def materials(held_out: bool) -> Materials:
    """Return what training scenes, or held-out ones, are made of; downloads 285 MB of packages into a temporary folder.

    Raises ConfigError when a package cannot be had.
    """
    with tempfile.TemporaryDirectory() as folder:
        archives = {}
        for package in (_SKIMAGE, _GRADIO, ROBOSUITE, GENESIS):
            place = Path(folder) / package.name
            place.mkdir()
            archives[package] = zipfile.ZipFile(download(package, place))
        return _gathered(archives, held_out)


def _gathered(archives: dict[Package, zipfile.ZipFile], held_out: bool) -> Materials:
    def wanted(member: str) -> bool:
        return (PurePosixPath(member).stem in _HELD_OUT) == held_out

    robosuite = sorted(name for name in archives[ROBOSUITE].namelist() if name.startswith(_TEXTURES))
    textures = [_picture(archives[ROBOSUITE], name) for name in robosuite if name.endswith(".png") and wanted(name)]
    for name in ("brick", "grass", "gravel"):
        if wanted(name):
            grey = _picture(archives[_SKIMAGE], f"skimage/data/{name}.png")
            tints = {"brick": (1.0, 0.72, 0.6), "grass": (0.75, 1.0, 0.55), "gravel": (1.0, 0.95, 0.88)}
            textures += [grey, np.clip(grey * np.array(tints[name], np.float32) * 1.1, 0, 1)]
    photos = {name: _picture(archives[_GRADIO], f"{_IMAGES}{name}.jpg") for name in (*_CUT_OUTS, "tower")}
    photos["rocket"] = _picture(archives[_SKIMAGE], "skimage/data/rocket.jpg")
    panorama = _picture(archives[GENESIS], "genesis/assets/textures/indoor_bright.png", longer=1024)
    backdrops = (panorama[100:400], photos["tower"], photos["rocket"], photos["cheetah"])
    clouds = []
    for name, (package, mesh, texture) in _MODELS.items():
        if wanted(name):
            skin = _picture(archives[ROBOSUITE if texture.startswith(_TEXTURES) else GENESIS], texture)
            clouds.append(_cloud(archives[package].read(mesh).decode(errors="replace"), skin))
    cut_outs = [_cut_out(photos[name]) for name in _CUT_OUTS if wanted(name)]
    if not held_out:
        textures += [photos[name] for name in ("cheetah", "tower", "rocket")]  # as posters and packages
    return Materials(tuple(textures), backdrops, tuple(cut_outs), tuple(clouds))


def _picture(archive: zipfile.ZipFile, member: str, longer: int = 320) -> np.ndarray:
    pixels = np.asarray(cv2.imdecode(np.frombuffer(archive.read(member), np.uint8), cv2.IMREAD_COLOR))
    _, size = fit(pixels.shape, longer, enlarge=True)
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)[:, :, ::-1].astype(np.float32) / 255.0


def _cut_out(photo: np.ndarray) -> np.ndarray:
    """Return RGBA cropped to the photo's subject, cut along its outline by saliency and GrabCut."""
    pixels = np.rint(photo * 255).astype(np.uint8)
    height, width = pixels.shape[:2]
    salient = cv2.resize(saliency(pixels), (width, height), interpolation=cv2.INTER_LINEAR)
    labels = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    labels[salient > 0.4] = cv2.GC_PR_FGD
    labels[salient > 0.75] = cv2.GC_FGD
    labels[salient < 0.08] = cv2.GC_BGD
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(pixels[:, :, ::-1].copy(), labels, (0, 0, width, height), *models, 5, cv2.GC_INIT_WITH_MASK)
    subject = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(subject)
    x, y, w, h, _ = stats[1 + stats[1:, cv2.CC_STAT_AREA].argmax()]
    alpha = (parts == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()).astype(np.float32)
    return np.dstack([photo, alpha])[y : y + h, x : x + w]


def _cloud(obj: str, skin: np.ndarray, count: int = 60_000) -> Cloud:
    """Return points spread evenly over the surface of a Wavefront mesh, coloured by its texture."""
    positions, coordinates, corners = [], [], []
    for line in obj.splitlines():
        word, *rest = line.split() or [""]
        if word == "v":
            positions.append([float(x) for x in rest[:3]])
        elif word == "vt":
            coordinates.append([float(x) for x in rest[:2]])
        elif word == "f":
            face = [_corner(text, len(positions), len(coordinates)) for text in rest]
            corners += [(face[0], face[i], face[i + 1]) for i in range(1, len(face) - 1)]
    vertices = np.array(positions)
    vertices = (vertices - (vertices.max(0) + vertices.min(0)) / 2) / (np.ptp(vertices, axis=0).max() / 2)
    triangles = np.array(corners)  # (T,3,2): index of position and of texture coordinate
    where, uv = vertices[triangles[:, :, 0]], np.array(coordinates)[triangles[:, :, 1]]
    normals = np.cross(where[:, 1] - where[:, 0], where[:, 2] - where[:, 0])
    area = np.linalg.norm(normals, axis=1)
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(area), count, p=area / area.sum())
    weights = rng.dirichlet([1, 1, 1], count)
    at = np.einsum("nk,nkd->nd", weights, uv[chosen]) % 1.0
    rows, columns = ((1 - at[:, 1]) * (skin.shape[0] - 1)).astype(int), (at[:, 0] * (skin.shape[1] - 1)).astype(int)
    return Cloud(
        np.einsum("nk,nkd->nd", weights, where[chosen]).astype(np.float32),
        (normals[chosen] / np.maximum(area[chosen, None], 1e-12)).astype(np.float32),
        skin[rows, columns],
    )


def _corner(text: str, positions: int, coordinates: int) -> tuple[int, int]:
    """Return zero-based indices of `v/vt/vn`, where negative ones count back from the last that was read."""
    vertex, coordinate = (int(number) for number in text.split("/")[:2])
    return (
        vertex - 1 if vertex > 0 else positions + vertex,
        coordinate - 1 if coordinate > 0 else coordinates + coordinate,
    )
