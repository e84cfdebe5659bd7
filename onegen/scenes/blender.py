"""Path-traced views by Blender's Cycles, always in a process of its own, which is killed when it takes too long.

A program is a `blender` binary or the Python of an environment with `bpy`; neither is a dependency of onegen, and
nothing of Blender is ever imported here: it holds one scene a process, cannot be interrupted, and may abort. What it
draws is what embree draws: the same file, placed by the same numbers, the same cameras and light.
"""

import contextlib
import io
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onegen.errors import ConfigError, SampleError
from onegen.geometry.cameras import Camera, change_axes
from onegen.scenes.lighting import make_lighting
from onegen.scenes.mesh import turn
from onegen.scenes.scene import RenderOptions, Scene, View, describe

WORKER = Path(__file__).with_name("blender_worker.py")
_START_SECONDS = 120.0
_TELL = b"onegen "


class BlenderRenderer:
    """Draws objects in a worker that is started when needed, and anew after `objects_per_process` of them.

    `seconds` is how long one object may take in all. Raises ConfigError where there is no program, or it does not
    start.
    """

    def __init__(
        self, program: str = "blender", seconds: float = 600.0, threads: int = 1, objects_per_process: int = 200
    ) -> None:
        found = shutil.which(program)
        if found is None:
            raise ConfigError(
                f"renderer blender needs Blender, and {program!r} is not a program here. Install Blender, or bpy in an "
                f"environment of its own (python3.11 -m venv bpy && bpy/bin/pip install bpy==5.0.1), and name its "
                f"python."
            )
        if seconds <= 0 or threads < 1 or objects_per_process < 1:
            raise ConfigError("seconds, threads and objects_per_process of renderer blender must be positive.")
        self.program, self.seconds, self.threads = found, seconds, threads
        self.objects_per_process = objects_per_process
        self._worker: _Worker | None = None
        self._drawn = 0

    def render(self, scene: Scene, cameras: Sequence[Camera], options: RenderOptions) -> Iterator[View]:
        """Yield a view a camera once all are drawn.

        Raises SampleError `render_timeout`, `renderer_died` or `render_failed`; the next object gets a fresh worker
        after the first two.
        """
        with tempfile.TemporaryDirectory(prefix="onegen-blender-") as folder:
            worker = self._ready()
            try:
                said = worker.ask(self._job(scene, cameras, options, folder), time.monotonic() + self.seconds)
            except SampleError:
                self.close()
                raise
            self._drawn += 1
            if "failed" in said:
                raise SampleError("render_failed", f"Blender must draw {scene.path.name}: {said['failed']}")
            record = describe(scene, "blender", worker.version, options)
            for number, camera in enumerate(cameras):
                yield _view(Path(folder), number, camera, options, record)

    @property
    def version(self) -> str:
        """Blender's version; starts a worker where none is there."""
        return self._ready().version

    def close(self) -> None:
        """End the worker, if there is one."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def _ready(self) -> "_Worker":
        if self._worker is not None and self._drawn >= self.objects_per_process:
            self.close()
        if self._worker is None:
            self._worker, self._drawn = _Worker(self.program), 0
        return self._worker

    def _job(self, scene: Scene, cameras: Sequence[Camera], options: RenderOptions, folder: str) -> dict[str, Any]:
        placed = scene.placement.matrix
        if scene.path.suffix.lower() in (".glb", ".gltf"):  # Blender's importer has turned y up to z up already
            turned = np.eye(4)
            turned[:3, :3] = turn("y")
            placed = placed @ turned.T
        return {
            "path": str(scene.path.resolve()),
            "matrix": placed.tolist(),
            "cameras": [_camera(camera, options) for camera in cameras],
            "width": options.width,
            "height": options.height,
            "samples": options.samples,
            "lighting": asdict(make_lighting(options.lighting)),
            "threads": self.threads,
            "out": folder,
        }


def _camera(camera: Camera, options: RenderOptions) -> dict[str, Any]:
    if abs(camera.focal[0] - camera.focal[1]) > 1e-9 * camera.focal[0]:
        raise ConfigError(f"renderer blender needs cameras with square pixels, got focal lengths {camera.focal}.")
    side = min(options.width, options.height)
    return {
        "camera_to_world": change_axes(camera.camera_to_world, "opencv", "opengl").tolist(),
        "focal_over_width": camera.focal[0] * side / options.width,
    }


def _view(folder: Path, number: int, camera: Camera, options: RenderOptions, record: dict[str, Any]) -> View:
    try:
        data = (folder / f"colour{number:04d}.png").read_bytes()
        depth = np.fromfile(folder / f"depth{number:04d}.f32", np.float32).reshape(options.height, options.width)
        with Image.open(io.BytesIO(data)) as image:
            rgba = np.asarray(image.convert("RGBA"), dtype=np.float32)
    except (OSError, ValueError, SyntaxError) as error:
        raise SampleError("render_failed", f"Blender must write view {number} whole: {error}.") from error
    if rgba.shape[:2] != depth.shape:
        raise SampleError("render_failed", f"Blender must write views of {depth.shape}, got {rgba.shape[:2]}.")
    covered = rgba[..., 3:] / 255
    colour = np.rint(rgba[..., :3] * covered + 255 * (1 - covered)).astype(np.uint8)
    return View(camera, colour, depth, np.where(depth > 0, 255, 0).astype(np.uint8), record)


class _Worker:
    """One process of Blender, in a session of its own so that it can be killed with whatever it started."""

    def __init__(self, program: str) -> None:
        is_python = Path(program).name.startswith("python")
        arguments = [] if is_python else ["--background", "--factory-startup", "--python-exit-code", "1", "--python"]
        try:
            self.process = subprocess.Popen(
                [program, *arguments, str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            )
        except OSError as error:
            raise ConfigError(f"renderer blender must be able to start {program}: {error}.") from error
        self._unread = b""
        try:
            self.version = str(self._read(time.monotonic() + _START_SECONDS)["ready"])
        except (SampleError, KeyError) as error:
            self.kill()
            raise ConfigError(
                f"{program} must start Blender's Python within {_START_SECONDS:.0f} s, and did not: {error}. Try: "
                f"{program} {' '.join(arguments)} {WORKER}"
            ) from error

    def ask(self, job: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Return the answer to a job; raises SampleError `render_timeout` or `renderer_died`."""
        assert self.process.stdin is not None, "a pipe was asked for"
        try:
            self.process.stdin.write(json.dumps(job).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise SampleError("renderer_died", f"Blender ended before it was asked: {error}.") from error
        return self._read(deadline)

    def _read(self, deadline: float) -> dict[str, Any]:
        """Return the next answer, passing over what Blender prints for itself."""
        assert self.process.stdout is not None, "a pipe was asked for"
        pipe = self.process.stdout.fileno()
        while True:
            line, newline, rest = self._unread.partition(b"\n")
            if newline:
                self._unread = rest
                if line.startswith(_TELL):
                    return _parse(line)
                continue
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise SampleError("render_timeout", "Blender must finish an object in its time, and was stopped.")
            data = os.read(pipe, 65_536)
            if not data:
                code = self.process.wait()
                raise SampleError("renderer_died", f"Blender must stay alive, and ended with code {code}.")
            self._unread += data

    def kill(self) -> None:
        """End the process and all it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _parse(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line[len(_TELL) :])
    except ValueError as error:
        raise SampleError("renderer_died", f"Blender must answer in JSON, got {line[:80]!r}.") from error
    return said if isinstance(said, dict) else {}
