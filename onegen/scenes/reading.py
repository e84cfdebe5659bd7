"""A mesh out of a GLB, glTF, OBJ or PLY file, through trimesh, with what trimesh lets pass looked at first.

    python -m onegen.scenes.preview OBJECT.glb OUT.png

Needs the extra `scenes`.
"""

import io
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onegen.errors import ConfigError, SampleError
from onegen.scenes.lighting import to_linear
from onegen.scenes.mesh import HUGE_FACES, Material, Mesh, UpAxis, check

if TYPE_CHECKING:
    import trimesh

MAX_FACES = 5_000_000
"""Faces an object may have unless its recipe says otherwise; instances count."""
FORMATS = (".glb", ".gltf", ".obj", ".ply")
_BROKEN = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, NotImplementedError),
    *(OSError, RuntimeError, TypeError, ValueError, struct.error),
)
"""What trimesh and the decoders under it raise for files they cannot read, `IndexError` and `KeyError` among them."""


def up_axis(suffix: str, up: UpAxis | None = None) -> UpAxis:
    """Return which axis of a file is up: glTF says y; OBJ and PLY say nothing, so `up` does, y where it is None."""
    return "y" if suffix.lower() in (".glb", ".gltf") or up is None else up


def read_mesh(path: Path, max_faces: int = MAX_FACES) -> Mesh:
    """Return the mesh in a file, in the file's own coordinates; see `load_mesh`. Files beside it may be read too."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SampleError("missing_file", f"mesh {path} must be readable: {error}.") from error
    return load_mesh(data, path.suffix, path.parent, max_faces)


def load_mesh(data: bytes, suffix: str, folder: Path | None = None, max_faces: int = MAX_FACES) -> Mesh:
    """Return the mesh in the bytes of a file of a kind (`.glb`), in the file's own coordinates.

    `folder` is where it may name files: buffers, materials, textures; without one it must stand alone. Raises
    SampleError with one reason: `unknown_mesh_format`, `unreadable_mesh`, `unsupported_feature`, `external_uri`,
    `unsafe_path`, `missing_file`, `missing_texture`, `bad_texture`, `too_large_texture`, `too_many_faces`,
    `empty_mesh`, `bad_index`, `not_finite`, `no_extent`.
    """
    kind = suffix.lower()
    if kind not in FORMATS:
        raise SampleError("unknown_mesh_format", f"mesh must be one of {', '.join(FORMATS)}, got {suffix!r}.")
    header = None
    if kind in (".glb", ".gltf"):
        from onegen.scenes.gltf import read_header

        header = read_header(data, 3 * max_faces)
    num_faces = header.num_faces if header else _faces_told(data, kind)
    if num_faces > max_faces:
        raise SampleError("too_many_faces", f"mesh must have at most {max_faces:,} faces, got {num_faces:,}.")
    scene = _load(data, kind, folder)
    mesh = _join(scene, srgb_colours=header is None, max_faces=max_faces)
    check(mesh)
    if header:
        _check_textures(scene, header.num_textures)
    flags = set() if _is_textured(mesh) else {"untextured"}
    flags |= {"animated"} if header and header.animated else set()
    flags |= {"huge"} if len(mesh.faces) >= HUGE_FACES else set()
    names = ("positions", "faces", "normals", "uv", "colours", "face_material", "materials")
    parts = {name: getattr(mesh, name) for name in names}
    return Mesh(**parts, flags=frozenset(flags), ignored=header.ignored if header else ())


def _faces_told(data: bytes, kind: str) -> int:
    """Return how many faces an OBJ or PLY announces, before they are parsed."""
    if kind == ".obj":
        return data.count(b"\nf ") + data.startswith(b"f ")
    found = re.search(rb"^element face (\d{1,18})\s*$", data[:65_536], re.MULTILINE)
    return int(found.group(1)) if found else 0


def _load(data: bytes, kind: str, folder: Path | None) -> "trimesh.Scene":
    try:
        import trimesh

        from onegen.scenes.beside import Beside
    except ImportError as error:
        raise ConfigError(f"meshes need trimesh: {error}. Install it with: pip install 'onegen[scenes]'") from error
    beside = Beside(folder)
    try:
        scene = trimesh.load_scene(io.BytesIO(data), file_type=kind[1:], resolver=beside, process=False)
    except SampleError:
        raise
    except _BROKEN as error:
        reason = "bad_index" if isinstance(error, IndexError) else "unreadable_mesh"
        raise SampleError(reason, f"mesh must be readable as {kind[1:]}: {error!r:.300}.") from error
    if beside.faults:
        raise beside.faults[0]
    return scene


def _join(scene: "trimesh.Scene", srgb_colours: bool, max_faces: int) -> Mesh:
    """Return all geometry of a scene as one mesh, every instance where its node puts it."""
    import trimesh

    from onegen.scenes.materials import Maps, convert

    maps = Maps()
    materials: list[Material] = []
    numbers: dict[Any, int] = {}
    pieces: list[tuple[np.ndarray, ...]] = []
    num_vertices = num_faces = 0
    for node in sorted(scene.graph.nodes_geometry):
        matrix, name = scene.graph[node]
        geometry = scene.geometry[name]
        if not isinstance(geometry, trimesh.Trimesh) or not len(geometry.faces):
            continue
        num_faces += len(geometry.faces)
        if num_faces > max_faces:
            raise SampleError("too_many_faces", f"mesh must have at most {max_faces:,} faces, got more.")
        if name not in numbers:
            numbers[name] = len(materials)
            materials.append(convert(getattr(geometry.visual, "material", None), maps))
        piece = _piece(geometry, np.asarray(matrix, dtype=np.float64), srgb_colours)
        indices = geometry.faces.astype(np.int64)
        if indices.min() < 0 or indices.max() >= len(piece[0]):  # before the offset hides it in a neighbour's vertices
            raise SampleError("bad_index", f"faces must index {len(piece[0])} vertices, got {indices.max()}.")
        owner = np.full(len(indices), numbers[name], dtype=np.int32)
        pieces.append((*piece, (indices + num_vertices).astype(np.int32), owner))
        num_vertices += len(piece[0])
    if not pieces:
        raise SampleError("empty_mesh", "a mesh must have faces, got none.")
    positions, normals, uv, colours, faces, owners = (np.concatenate(part) for part in zip(*pieces, strict=True))
    return Mesh(positions, faces, normals, uv, colours, owners, tuple(materials))


def _piece(geometry: Any, matrix: np.ndarray, srgb_colours: bool) -> tuple[np.ndarray, ...]:
    """Return positions, normals, UVs and colours of one instance; a file without normals is drawn flat."""
    count = len(geometry.vertices)
    positions = _transform(np.asarray(geometry.vertices), matrix[:3, :3]) + matrix[:3, 3]
    normals = np.zeros((count, 3), np.float32)
    # What the loader was given; asking for the property instead would average faces where the file is flat.
    if "vertex_normals" in geometry._cache:
        given = np.asarray(geometry.vertex_normals)
        cofactors = np.stack([np.cross(matrix[1, :3], matrix[2, :3]), np.cross(matrix[2, :3], matrix[0, :3])])
        turned = _transform(given, np.vstack([cofactors, np.cross(matrix[0, :3], matrix[1, :3])]))
        length = np.sqrt((turned * turned).sum(axis=1, keepdims=True))  # a node's scale is in it too
        with np.errstate(invalid="ignore", divide="ignore"):
            normals = np.nan_to_num(turned / length, posinf=0.0, neginf=0.0).astype(np.float32)
    uv = np.zeros((count, 2), np.float32)
    given_uv = getattr(geometry.visual, "uv", None)
    if given_uv is not None and np.shape(given_uv) == (count, 2):
        # trimesh puts the origin at the lower left; the maps' first row is their top
        uv = np.nan_to_num(np.asarray(given_uv, dtype=np.float64) * [1, -1] + [0, 1]).astype(np.float32)
    return positions.astype(np.float32), normals, uv, _colours(geometry.visual, count, srgb_colours)


def _transform(vectors: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    x, y, z = vectors.astype(np.float64).T
    with np.errstate(invalid="ignore", over="ignore"):  # `check` tells of numbers that are not finite
        return np.stack([row[0] * x + row[1] * y + row[2] * z for row in matrix], axis=1)


def _colours(visual: Any, count: int, srgb: bool) -> np.ndarray:
    """Return linear vertex colours (n,4) float32: glTF's are linear, those of PLY and OBJ as displays show them."""
    given = getattr(visual, "vertex_attributes", {}).get("color") if visual.kind == "texture" else None
    if visual.kind in ("vertex", "face"):
        given = visual.vertex_colors
    colours = np.ones((count, 4), np.float32)
    if given is None or len(given) != count:
        return colours
    given = np.asarray(given)
    scale = np.iinfo(given.dtype).max if np.issubdtype(given.dtype, np.integer) else 1.0
    colours[:, : given.shape[1]] = np.nan_to_num(given / scale)
    if srgb:
        colours[:, :3] = to_linear(colours[:, :3])
    return colours


def _check_textures(scene: Any, wanted: int) -> None:
    """Raise SampleError where materials were read with fewer maps than the file's have: trimesh drops broken ones."""
    materials = {
        id(material): material
        for geometry in scene.geometry.values()
        if (material := getattr(getattr(geometry, "visual", None), "material", None)) is not None
    }
    slots = ("baseColorTexture", "metallicRoughnessTexture", "emissiveTexture")
    got = sum(getattr(material, slot, None) is not None for material in materials.values() for slot in slots)
    if got < wanted:
        raise SampleError("missing_texture", f"materials name {wanted} textures, of which {got} could be read.")


def _is_textured(mesh: Mesh) -> bool:
    """Return whether anything varies over the surface: a map, colours of vertices, or materials of several colours."""
    used: list[Material] = [mesh.materials[number] for number in np.unique(mesh.face_material)]
    has_map = any(material.colour_map is not None or material.emission_map is not None for material in used)
    return has_map or len({material.colour for material in used}) > 1 or bool(np.ptp(mesh.colours, axis=0).any())
