"""Where the cameras of a scene stand, as a picture: each a pyramid that opens to what it sees, from blue to orange."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from onegen.geometry.cameras import Camera, nearest_point

_AZIMUTH, _ELEVATION = 40.0, 32.0
"""From where one looks, in degrees, as seen from the first camera."""
_LENGTH = 0.28
"""How long a pyramid is, in parts of the farthest camera's distance from the middle."""
_MARGIN = 0.06
_OVER = 3
"""Times that lines are drawn larger, so that they come out smooth."""
_FIRST, _LAST = np.array([38, 92, 190]), np.array([226, 112, 26])
_GRID, _DROP, _INK, _PAPER = "#e4e4e4", "#c9c9c9", "#1c1c1c", "#ffffff"
_CELLS = 4


@dataclass(frozen=True, slots=True)
class _Drawing:
    """Points of the world on paper: `axes` (3,3) are right, down and away of who looks; `scale` in pixels a unit."""

    middle: np.ndarray
    axes: np.ndarray
    scale: float
    centre: np.ndarray

    def on_paper(self, points: np.ndarray) -> list[tuple[float, float]]:
        """Return points (N,3) as pixels."""
        flat = (np.atleast_2d(points) - self.middle) @ self.axes[:2].T * self.scale + self.centre
        return [(float(x), float(y)) for x, y in flat]


def draw_cameras(cameras: Sequence[Camera], side: int = 464) -> np.ndarray:
    """Return the cameras of a scene in their order, numbered from 0, RGB uint8 (H,W,3), the longer side `side`.

    The point that they look at is the black dot; a net lies level through it, where cameras without roll are upright.
    """
    frame = frame_of(cameras)
    target, up, radius = frame[0], frame[1][2], frame[2]
    pyramids = [_pyramid(camera, _LENGTH * radius) for camera in cameras]
    net = _net(target, frame[1], radius)
    drawing = _drawing(np.concatenate([*pyramids, net.reshape(-1, 3)]), frame, side * _OVER)
    sheet = Image.new("RGB", (side * _OVER, side * _OVER), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for start, end in net:
        draw.line(drawing.on_paper(np.stack([start, end])), _GRID, _OVER)
    for camera in cameras:
        foot = camera.center - ((camera.center - target) @ up) * up
        draw.line(drawing.on_paper(np.stack([camera.center, foot])), _DROP, _OVER)
    (x, y), dot = drawing.on_paper(target)[0], 3 * _OVER
    draw.ellipse((x - dot, y - dot, x + dot, y + dot), _INK)
    away = [float((camera.center - target) @ drawing.axes[2]) for camera in cameras]
    font = ImageFont.load_default(13 * _OVER)
    for number in sorted(range(len(cameras)), key=lambda index: -away[index]):
        _draw_pyramid(draw, drawing, pyramids[number], _colour(number, len(cameras)), str(number), font)
    small = np.asarray(sheet.resize((side, side), Image.Resampling.LANCZOS))
    drawn = np.flatnonzero((small < 255).any(axis=(1, 2)))
    margin = round(side * _MARGIN / 2)
    return small[max(drawn[0] - margin, 0) : drawn[-1] + margin]


def frame_of(cameras: Sequence[Camera]) -> tuple[np.ndarray, np.ndarray, float]:
    """Return what the cameras look at (3,), axes (3,3), and the distance of the farthest.

    The axes are the way level from there to the first camera, level to its right, and up.
    """
    centers = np.stack([camera.center for camera in cameras])
    target, sureness = nearest_point(centers, np.stack([camera.forward for camera in cameras]))
    if sureness < 1e-5:  # they look one way: there is no such point
        target = centers.mean(axis=0)
    up = _up(cameras)
    back = centers[0] - target
    back = back - (back @ up) * up
    if np.linalg.norm(back) < 1e-6 * max(1.0, float(np.abs(centers).max())):
        back = np.cross(up, [1.0, 0.0, 0.0] if abs(up[0]) < 0.9 else [0.0, 1.0, 0.0])
    back = back / np.linalg.norm(back)
    radius = float(np.linalg.norm(centers - target, axis=1).max())
    return target, np.stack([back, np.cross(up, back), up]), radius or 1.0


def _up(cameras: Sequence[Camera]) -> np.ndarray:
    """Return which way is up (3,): level cameras, however they tilt, have their rows square to it."""
    rights = np.stack([camera.camera_to_world[:3, 0] for camera in cameras])
    mean = -np.mean([camera.camera_to_world[:3, 1] for camera in cameras], axis=0)
    spread, directions = np.linalg.eigh(rights.T @ rights / len(cameras))
    if spread[1] > 1e-2 and spread[0] < 0.1 * spread[1]:
        mean = directions[:, 0] * (1.0 if directions[:, 0] @ mean >= 0 else -1.0)
    length = float(np.linalg.norm(mean))
    return mean / length if length > 1e-3 else np.array([0.0, 0.0, 1.0])


def _pyramid(camera: Camera, length: float) -> np.ndarray:
    """Return the tip and the four corners (5,3) of what a camera sees, taken as square."""
    half = [0.5 / focal for focal in camera.focal]
    corners = [(x, y) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    rays = np.array([[x * half[0], y * half[1], 1.0] for x, y in corners]) * length
    points = np.concatenate([np.zeros((1, 3)), rays])
    return points @ camera.camera_to_world[:3, :3].T + camera.center


def _net(target: np.ndarray, axes: np.ndarray, radius: float) -> np.ndarray:
    """Return the lines (N,2,3) of a level net around the target."""
    steps = np.linspace(-radius, radius, 2 * _CELLS + 1)
    lines = []
    for one, other in ((axes[0], axes[1]), (axes[1], axes[0])):
        lines += [(target + step * one - radius * other, target + step * one + radius * other) for step in steps]
    return np.array(lines)


def _drawing(points: np.ndarray, frame: tuple[np.ndarray, np.ndarray, float], side: int) -> _Drawing:
    """Return how points come to lie on paper of `side` pixels, all of them within its margin."""
    target, axes, _ = frame
    a, e = np.deg2rad(_AZIMUTH), np.deg2rad(_ELEVATION)
    nearer = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)]) @ axes
    right = np.cross(axes[2], nearer)
    right /= np.linalg.norm(right)
    looking = np.stack([right, -np.cross(nearer, right), -nearer])
    flat = (points - target) @ looking[:2].T
    low, high = flat.min(axis=0), flat.max(axis=0)
    scale = side * (1 - 2 * _MARGIN) / float((high - low).max())
    return _Drawing(target, looking, scale, side / 2 - (low + high) / 2 * scale)


def _draw_pyramid(
    draw: ImageDraw.ImageDraw,
    drawing: _Drawing,
    points: np.ndarray,
    colour: tuple[int, int, int],
    name: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    tip, *corners = drawing.on_paper(points)
    for corner in corners:
        draw.line((tip, corner), colour, 2 * _OVER)
    draw.line([*corners, corners[0]], colour, 2 * _OVER, joint="curve")
    draw.line(corners[:2], colour, 4 * _OVER)  # the picture's upper edge
    draw.text(tip, name, _INK, font, anchor="mm", stroke_width=2 * _OVER, stroke_fill=_PAPER)


def _colour(number: int, count: int) -> tuple[int, int, int]:
    part = number / max(count - 1, 1)
    red, green, blue = (round(float(value)) for value in _FIRST * (1 - part) + _LAST * part)
    return red, green, blue
