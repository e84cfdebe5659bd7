"""Captures as the makers of each layout write them."""

import gzip
import json
import struct

import numpy as np
import OpenEXR
from PIL import Image

from onegen.geometry.cameras import change_axes, to_colmap, to_pytorch3d
from onegen.geometry.rigs import make_rig
from onegen.scenes.captures.colmap import MODELS
from onegen.scenes.captures.nerfstudio import write_nerfstudio

WIDTH, HEIGHT = 64, 48
NAMES = ["b c.png", "a.png", "d.png", "sub/c.png"]
"""What COLMAP's pictures are called, in the order of the cameras."""


def rig(focal=1.2):
    return make_rig("gso30", {"views": 4, "focal": focal}).cameras(seed=5)


def save(path, width=WIDTH, height=HEIGHT):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (200, 30, 10)).save(path)


def nerfstudio(folder, cameras, **changes):
    names = [f"images/{9 - number}.png" for number in range(len(cameras))]  # not sorted: the file's order counts
    for name in names:
        save(folder / name)
    path = write_nerfstudio(folder, dict(zip(names, cameras, strict=True)), WIDTH, HEIGHT)
    document = json.loads(path.read_text())
    for word, value in changes.items():
        document[word] = value
    path.write_text(json.dumps(document))
    return document, path


def colmap(folder, cameras, binary, model="PINHOLE", parameters=(1.2 * HEIGHT, 1.2 * HEIGHT, WIDTH / 2, HEIGHT / 2)):
    solved = folder / "sparse" / "0"
    solved.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        save(folder / "images" / name)
    poses = [to_colmap(camera) for camera in cameras]
    if binary:
        head = struct.pack("<QiiQQ", 1, 7, list(MODELS).index(model), WIDTH, HEIGHT)
        (solved / "cameras.bin").write_bytes(head + struct.pack(f"<{len(parameters)}d", *parameters))
        rows = b"".join(
            struct.pack("<i7di", 10 - number, *quaternion, *translation, 7)
            + name.encode()
            + b"\0"
            + struct.pack("<Q", number)
            + number * struct.pack("<ddq", 1.0, 2.0, -1)
            for number, (name, (quaternion, translation)) in enumerate(zip(NAMES, poses, strict=True))
        )
        (solved / "images.bin").write_bytes(struct.pack("<Q", len(NAMES)) + rows)
        return solved
    numbers = " ".join(map(repr, map(float, parameters)))
    (solved / "cameras.txt").write_text(f"# Camera list\n7 {model} {WIDTH} {HEIGHT} {numbers}\n")
    lines = ["# Image list"]
    for number, (name, (quaternion, translation)) in enumerate(zip(NAMES, poses, strict=True)):
        pose = " ".join(repr(float(value)) for value in (*quaternion, *translation))
        lines += [f"{10 - number} {pose} 7 {name}", "1.0 2.0 -1" if number % 2 else ""]
    (solved / "images.txt").write_text("\n".join(lines) + "\n")
    return solved


def co3d(root, cameras, form="ndc_isotropic", score=1.2):
    entries = []
    for number, camera in enumerate(cameras):
        name = f"apple/110_1/images/frame{number:06d}.png"
        save(root / name)
        rotation, translation = to_pytorch3d(camera)
        half = np.array([HEIGHT / 2] * 2 if form == "ndc_isotropic" else [WIDTH / 2, HEIGHT / 2])
        focal = np.array(camera.focal) * HEIGHT / half
        view = {
            "R": rotation.tolist(),
            "T": translation.tolist(),
            "focal_length": focal.tolist(),
            "principal_point": [0.0, 0.0],
            "intrinsics_format": form,
        }
        about = {"path": name, "size": [HEIGHT, WIDTH]}
        entries.append({"sequence_name": "110_1", "frame_number": number, "image": about, "viewpoint": view})
    sequences = [{"sequence_name": "110_1", "category": "apple", "viewpoint_quality_score": score}]
    write_jgz(root, list(reversed(entries)), sequences)
    return entries, sequences


def write_jgz(root, entries, sequences):
    for name, content in (("frame", entries), ("sequence", sequences)):
        (root / "apple" / f"{name}_annotations.jgz").write_bytes(gzip.compress(json.dumps(content).encode()))


def gobjaverse(folder, cameras):
    for number, camera in enumerate(cameras):
        name = f"{number:05d}"
        save(folder / name / f"{name}.png", 64, 64)
        x, y, z, origin = camera.camera_to_world[:3].T.round(9).tolist()
        (folder / name / f"{name}.json").write_text(json.dumps({"origin": origin, "x": x, "y": y, "z": z}))


def depth_of_gobjaverse(folder, number, depth):
    """Write normals and, in the channel A, the depth (H,W) of a view, as G-Objaverse has them."""
    name = f"{number:05d}"
    normals = np.full((*depth.shape, 3), 0.5, np.float32)
    pixels = np.dstack([normals, depth.astype(np.float32)])
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {"RGBA": pixels}) as file:
        file.write(str(folder / name / f"{name}_nd.exr"))


def gso30(folder, cameras):
    for number, camera in enumerate(cameras):
        save(folder / f"{number:03d}.png", 64, 64)
        world_to_camera = np.linalg.inv(change_axes(camera.camera_to_world, "opencv", "opengl"))
        np.save(folder / f"{number:03d}.npy", world_to_camera[:3])
