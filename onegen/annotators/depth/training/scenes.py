"""Made-up scenes with known depth: streets, rooms, table tops and close-ups, seen from a random camera.

A scene is a function of its seed and its materials. Lengths are in units of the camera's height over the ground.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from onegen.annotators.depth.training.materials import Materials
from onegen.annotators.depth.training.render import Canvas, Solid
from onegen.annotators.depth.training.things import THINGS, around

IMAGE_SIDE = 224
DEPTH_SIDE = 64
_COMMON = {
    "street": ("figure", "vehicle", "tree", "animal", "two_wheeler", "single", "heap", "figure"),
    "room": ("table", "chair", "shelf", "figure", "single", "heap", "two_wheeler", "cup", "animal"),
    "table": ("cup", "single", "heap", "single", "cup"),
    "close": ("bust", "animal", "single", "heap", "figure", "bust"),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture, RGB uint8 (224,224,3), and the inverse depth of its surfaces, float32 (64,64), 0 being the sky."""

    picture: np.ndarray
    inverse_depth: np.ndarray


def scene(seed: int, materials: Materials) -> Scene:
    """Return one scene."""
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(list(_COMMON), p=[0.32, 0.36, 0.14, 0.18]))
    tall = float(np.tan(rng.uniform(0.3, 0.62)))
    tangents = (tall * float(np.exp(rng.uniform(-0.5, 0.55))), tall)
    pitch = rng.uniform(0.4, 1.25) if kind == "table" else rng.normal(0.1, 0.13)
    frame = around(2, rng.normal(0, 0.03)) @ around(0, -pitch)  # columns: right, up and ahead over the ground
    lamp = frame @ np.array([rng.uniform(-1, 1), rng.uniform(0.4, 1.5), rng.uniform(-1.2, 0.3)])
    canvas = Canvas(tangents, _sky(rng, materials), lamp / np.linalg.norm(lamp), rng.uniform(0.35, 0.75))
    is_room = kind == "room" or (kind != "street" and rng.random() < 0.6)
    far = _surroundings(rng, canvas, frame, materials, is_room)
    places = []
    if kind == "close":
        places.append((rng.uniform(-0.3, 0.3), rng.uniform(-1.4, -0.7), rng.uniform(0.8, 1.7), 0.9))
    elif rng.random() < 0.75:
        places.append((rng.uniform(-0.5, 0.5), rng.uniform(-0.95, -0.3), rng.uniform(0.4, 0.9), 0.0))
    for _ in range(rng.integers(2, 10)):
        places.append((rng.uniform(-1, 1), rng.uniform(-1.0, 0.2), rng.uniform(0.08, 0.45), 0.0))
    for index, place in enumerate(places):
        names = _COMMON["room" if kind == "close" and index else kind]
        _put(rng, canvas, frame, materials, place, far, names)
    return _photographed(rng, canvas, kind == "close")


def _texture(rng: np.random.Generator, materials: Materials) -> np.ndarray:
    """Return a texture: of a photo, tinted, or a plain or clouded colour."""
    if rng.random() < 0.3:
        noise = cv2.resize(rng.random((8, 8, 1), dtype=np.float32), (128, 128), interpolation=cv2.INTER_CUBIC)
        plain = (rng.random() + rng.uniform(-0.5, 0.5) * (rng.random(3) - 0.5)) * rng.uniform(0.3, 1.0)
        return np.clip(plain + rng.uniform(0, 0.25) * (noise[:, :, None] - 0.5), 0, 1).astype(np.float32)
    skin = materials.textures[rng.integers(len(materials.textures))]
    skin = skin + rng.random() ** 2 * (skin.mean(axis=2, keepdims=True) - skin)  # many things are less gaudy
    tint = rng.uniform(0.7, 1.2, 3) if rng.random() < 0.5 else np.ones(3)
    return np.clip(skin * tint * rng.uniform(0.5, 1.2), 0, 1).astype(np.float32)


def _sky(rng: np.random.Generator, materials: Materials) -> np.ndarray:
    if rng.random() < 0.25:
        return materials.backdrops[rng.integers(len(materials.backdrops))]
    top, bottom = rng.uniform((0.2, 0.35, 0.5), 1.0), rng.uniform(0.5, 1.0, 3)
    ramp = np.linspace(0, 1, 64)[:, None, None] ** rng.uniform(0.5, 2)
    clouds = cv2.resize(rng.random((6, 4), dtype=np.float32), (64, 64), interpolation=cv2.INTER_CUBIC)[:, :, None]
    return np.clip(top * (1 - ramp) + bottom * ramp + rng.uniform(0, 0.4) * (clouds - 0.5), 0, 1).astype(np.float32)


def _surroundings(
    rng: np.random.Generator, canvas: Canvas, frame: np.ndarray, materials: Materials, is_room: bool
) -> float:
    """Draw the ground and walls; return how far ahead things may stand."""
    right, up, ahead = frame.T
    canvas.plane(-up, np.stack([right, ahead, up]), _texture(rng, materials), rng.uniform(0.3, 2.0))
    yaw = rng.normal(0, 0.35)
    across, along = right * np.cos(yaw) + ahead * np.sin(yaw), ahead * np.cos(yaw) - right * np.sin(yaw)
    far = rng.uniform(1.8, 7.0) if is_room else rng.uniform(6.0, 40.0)
    if is_room:
        skin, scale = _texture(rng, materials), rng.uniform(0.4, 2.0)
        canvas.plane(along * far, np.stack([across, up, -along]), skin, scale)
        for sign in (-1.0, 1.0):
            if rng.random() < 0.7:
                wall = across * sign * rng.uniform(1.0, 4.0)
                side = skin if rng.random() < 0.7 else _texture(rng, materials)
                canvas.plane(wall, np.stack([along, up, -across * sign]), side, scale)
        if rng.random() < 0.6:
            canvas.plane(up * rng.uniform(0.4, 1.6), np.stack([across, along, -up]), _texture(rng, materials), scale)
        for _ in range(rng.integers(0, 4)):  # pictures, doors, windows on the wall
            at = along * (far - 0.02) + across * rng.uniform(-2, 2) + up * rng.uniform(-0.6, 0.8)
            size = np.array([*rng.uniform(0.1, 0.6, 2), 0.02])
            canvas.solid(Solid("box", at, size, np.stack([across, up, along], axis=1), _texture(rng, materials)))
    elif rng.random() < 0.5:  # a row of houses or a hedge, aside or across
        turn = np.stack([across, up, along], axis=1) @ around(1, float(rng.choice([0.0, 1.3, -1.3])))
        for _ in range(rng.integers(1, 5)):
            size = rng.uniform((1.0, 0.8, 0.5), (6.0, 6.0, 3.0))
            at = along * rng.uniform(5, far + 8) + across * rng.uniform(-12, 12) + up * (size[1] - 1)
            canvas.solid(Solid("box", at, size, turn, _texture(rng, materials), rng.uniform(1, 4)))
    return far


def _put(
    rng: np.random.Generator,
    canvas: Canvas,
    frame: np.ndarray,
    materials: Materials,
    place: tuple[float, float, float, float],
    far: float,
    names: tuple[str, ...],
) -> None:
    """Stand a thing where the ray through (x, y) of `place` meets the ground, `place[2]` of the picture high.

    The fourth number, where it is not 0, is the distance of a thing whose foot is out of sight.
    """
    x, y, share, distance = place
    up = frame[:, 1]
    ray = np.array([x * canvas.tangents[0], y * canvas.tangents[1], 1.0])
    slope = ray @ up
    z = distance if distance else (-1.0 / slope if slope < -1e-3 else np.inf)
    if not 0.35 < z < min(far, 30.0) * 0.95:
        return
    half = share * z * canvas.tangents[1]
    foot = ray * z
    _shadow(rng, canvas, foot, half, up)
    centre = foot + up * half
    yaw = frame @ around(1, rng.uniform(0, 2 * np.pi))
    luck = rng.random()
    if luck < 0.25 and share < 0.65 and half < 0.3 * z:  # a larger one would show gaps between its points
        cloud = materials.clouds[rng.integers(len(materials.clouds))]
        turn = frame @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
        reach = max(0.2, -float((cloud.points @ (turn.T @ up)).min()))  # it rests on its lowest point
        canvas.cloud(cloud, foot + up * half * reach, half, turn)
    elif luck > 0.88:
        skin = materials.cut_outs[rng.integers(len(materials.cut_outs))]
        if rng.random() < 0.5:
            skin = skin[:, ::-1]
        size = np.array([half * skin.shape[1] / skin.shape[0], half, 1e-3])
        canvas.solid(Solid("card", centre, size, frame @ around(1, rng.normal(0, 0.2)), skin))
    else:
        skins = [_texture(rng, materials) for _ in range(3)]
        for piece in THINGS[str(rng.choice(names))](rng):
            at = centre + yaw @ np.array(piece.centre) * half
            size = np.array(piece.size) * half
            canvas.solid(Solid(piece.shape, at, size, yaw @ piece.turn, skins[piece.skin], rng.uniform(0.5, 1.5)))


def _shadow(rng: np.random.Generator, canvas: Canvas, foot: np.ndarray, half: float, up: np.ndarray) -> None:
    """Darken the ground softly around a thing's foot."""
    at = canvas.rays * np.minimum(canvas.depth, 1e3)[:, :, None] - foot
    height = at @ up
    spread = ((at**2).sum(axis=2) - height**2) / (half * rng.uniform(0.5, 0.9)) ** 2
    ground = np.abs(height) < 0.02
    strength = rng.uniform(0.2, 0.7)
    canvas.colour[ground] *= (1 - strength * np.exp(-(spread[ground] ** 1.5)))[:, None].astype(np.float32)


def _photographed(rng: np.random.Generator, canvas: Canvas, is_close: bool) -> Scene:
    """Return the canvas as a camera would see it: haze, defocus, exposure, colour cast and noise."""
    inverse = (1.0 / canvas.depth).astype(np.float32)
    picture = canvas.colour
    if rng.random() < 0.3:
        haze = np.exp(-np.minimum(canvas.depth, 100.0) * rng.uniform(0.01, 0.08))[:, :, None]
        picture = picture * haze + rng.uniform(0.6, 0.95, 3).astype(np.float32) * (1 - haze)
    if rng.random() < (0.7 if is_close else 0.25):
        focus = float(np.quantile(inverse, rng.uniform(0.7, 0.97)))
        strength = np.abs(inverse - focus) / focus * rng.uniform(1.0, 3.0)
        for level in (1.0, 2.0):  # each step doubles the blur where the surface is farther out of focus
            soft = cv2.GaussianBlur(picture, (0, 0), 2.0 * level)
            share = cv2.GaussianBlur(np.clip(strength - level + 0.7, 0, 1), (0, 0), 1.5)[:, :, None]
            picture = picture * (1 - share) + soft * share
    picture = np.clip(picture * rng.uniform(0.7, 1.25) * rng.uniform(0.9, 1.1, 3), 0, 1) ** rng.uniform(0.75, 1.25)
    if rng.random() < 0.1:
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    small = cv2.resize(picture.astype(np.float32), (IMAGE_SIDE, IMAGE_SIDE), interpolation=cv2.INTER_AREA)
    small = small + rng.normal(0, rng.uniform(0, 0.03), small.shape)
    target = cv2.resize(inverse, (DEPTH_SIDE, DEPTH_SIDE), interpolation=cv2.INTER_AREA)
    return Scene(np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8), target)
