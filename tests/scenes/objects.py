"""Objects for the tests, made by trimesh: their shapes, sizes and colours are known without a renderer."""

import io
import json
import struct

import numpy as np
import trimesh
from PIL import Image
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial


def picture(pixels):
    return Image.fromarray(np.asarray(pixels, dtype=np.uint8))


def checker(cells=8, side=256):
    """A map of random colours, the same each time."""
    colours = np.random.default_rng(0).integers(40, 215, (cells, cells, 3), dtype=np.uint8)
    return picture(np.kron(colours, np.ones((side // cells, side // cells, 1), np.uint8)))


def matte(**options):
    return PBRMaterial(metallicFactor=0.0, roughnessFactor=1.0, **options)


def sphere(subdivisions=4, texture=None):
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions)
    x, y, z = mesh.vertices.T
    uv = np.stack([np.arctan2(x, z) / (2 * np.pi) + 0.5, np.arcsin(np.clip(y, -1, 1)) / np.pi + 0.5], axis=1)
    mesh.visual = TextureVisuals(uv=uv, material=matte(baseColorTexture=texture or checker()))
    return mesh


def cube(side=2.0, colour=(200, 60, 30, 255)):
    mesh = trimesh.creation.box(extents=(side, side, side))
    mesh.visual = TextureVisuals(uv=np.zeros((len(mesh.vertices), 2)), material=matte(baseColorFactor=colour))
    return mesh


def quad(texture, width=1.0, height=1.0, material=None, flipped=False):
    """A picture that hangs in the plane z = 0 of a glTF and faces +z, upright: v of trimesh runs upwards."""
    x, y = width / 2, height / 2
    vertices = [[-x, -y, 0], [x, -y, 0], [x, y, 0], [-x, y, 0]]
    faces = [[0, 1, 2], [0, 2, 3]] if not flipped else [[0, 2, 1], [0, 3, 2]]
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=float)
    mesh.visual = TextureVisuals(uv=uv, material=material or matte(baseColorTexture=texture))
    return mesh


def quarters():
    """Red upper left, green upper right, blue lower left, yellow lower right."""
    colours = [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]]
    return picture(np.kron(np.array(colours, np.uint8), np.ones((32, 32, 1), np.uint8)))


def glb(*meshes, transforms=None):
    scene = trimesh.Scene()
    for number, mesh in enumerate(meshes):
        scene.add_geometry(mesh, transform=None if transforms is None else transforms[number])
    return scene.export(file_type="glb")


def header_of(data):
    """The JSON of a GLB and its binary chunk."""
    length = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def with_header(data, change):
    """A GLB whose JSON was changed by a function."""
    document, binary = header_of(data)
    change(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<2I", len(text), 0x4E4F534A) + text + struct.pack("<2I", len(binary), 0x004E4942) + binary
    return struct.pack("<4s2I", b"glTF", 2, 12 + len(chunks)) + chunks


def png(image):
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()
