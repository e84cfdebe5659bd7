"""What a glTF file says of itself before anyone reads its geometry: faults, size, and what will not be drawn.

trimesh takes much that it does not understand without a word: sparse accessors, second sets of UVs, texture transforms,
skins. Here they are found in the header. https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html
"""

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onegen.errors import SampleError

DRAWN = frozenset({"KHR_draco_mesh_compression", "EXT_texture_webp", "KHR_materials_pbrSpecularGlossiness"})
"""Extensions that the reader understands."""
_MAGIC, _JSON = b"glTF", 0x4E4F534A
_TRIANGLES, _STRIP = 4, 5
_SLOTS = ("normalTexture", "occlusionTexture", "emissiveTexture")
_NOT_DRAWN = {"normalTexture", "occlusionTexture"}
_PBR_SLOTS = ("baseColorTexture", "metallicRoughnessTexture")


@dataclass(frozen=True, slots=True)
class Header:
    """What was found: faces with every instance counted, things that move, and what is left out of the picture.

    `num_textures` are the maps that drawn triangles need, a map once for every material and slot.
    """

    num_faces: int
    animated: bool
    ignored: tuple[str, ...]
    num_textures: int


def read_header(data: bytes, max_elements: int) -> Header:
    """Return what a `.glb` or `.gltf` says of itself.

    Raises SampleError `unreadable_mesh` for another format or a broken header, `unsupported_feature` for an extension
    that the file requires and nobody here draws, or for sparse accessors, `too_many_faces` for an accessor of more
    than `max_elements`.
    """
    document = _document(data)
    try:
        return _look(document, max_elements)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SampleError("unreadable_mesh", f"glTF header must refer to what it has: {error!r}.") from error


def _document(data: bytes) -> Mapping[str, Any]:
    text = data
    if data[:4] == _MAGIC:
        try:
            version, _, length, kind = struct.unpack_from("<4I", data, 4)
        except struct.error as error:
            raise SampleError("unreadable_mesh", "GLB must have a header, got a file that ends in it.") from error
        if version != 2 or kind != _JSON:
            raise SampleError("unreadable_mesh", f"GLB must be of version 2 and start with JSON, got {version}.")
        text = data[20 : 20 + length]
    try:
        document = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SampleError("unreadable_mesh", f"glTF must be JSON: {error}.") from error
    if not isinstance(document, dict):
        raise SampleError("unreadable_mesh", "glTF must be an object, got something else.")
    return document


def _look(document: Mapping[str, Any], max_elements: int) -> Header:
    if "scene" in document:
        document["scenes"][document["scene"]]
    required = set(document.get("extensionsRequired", ()))
    if required - DRAWN:
        raise SampleError(
            "unsupported_feature", f"file requires {', '.join(sorted(required - DRAWN))}, not drawn here."
        )
    for accessor in document.get("accessors", ()):
        if "sparse" in accessor:
            raise SampleError("unsupported_feature", "accessors must be dense, got a sparse one.")
        if not 0 <= int(accessor["count"]) <= max_elements:
            raise SampleError("too_many_faces", f"accessor must have at most {max_elements:,} elements, got more.")
    used = set(document.get("extensionsUsed", ())) | set(_extensions(document.get("materials", ())))
    return Header(
        num_faces=_num_faces(document),
        animated=bool(document.get("animations") or document.get("skins")),
        ignored=tuple(sorted((used - DRAWN) | set(_second_sets(document)) | set(_other_modes(document)))),
        num_textures=_num_textures(document),
    )


def _num_faces(document: Mapping[str, Any]) -> int:
    """Return how many triangles are drawn, a mesh once for every node that shows it."""
    nodes: Sequence[Mapping[str, Any]] = document.get("nodes", ())
    meshes = document.get("meshes", ())
    _refuse_shared_children(nodes)
    shown = [node["mesh"] for node in nodes if "mesh" in node]
    return sum(_faces_of(document, primitive) for number in shown for primitive in meshes[number]["primitives"])


def _refuse_shared_children(nodes: Sequence[Mapping[str, Any]]) -> None:
    """Raise SampleError unless nodes form trees: a shared child multiplies, a circle never ends."""
    parent: dict[int, int] = {}
    for number, node in enumerate(nodes):
        for child in node.get("children", ()):
            if child in parent:
                raise SampleError("unreadable_mesh", f"node {child} must have one parent, got two.")
            nodes[child]
            parent[child] = number
    for start in parent:
        seen, at = {start}, start
        while at in parent:
            at = parent[at]
            if at in seen:
                raise SampleError("unreadable_mesh", f"nodes must form trees, got a circle through {at}.")
            seen.add(at)


def _faces_of(document: Mapping[str, Any], primitive: Mapping[str, Any]) -> int:
    mode = primitive.get("mode", _TRIANGLES)
    if mode not in (_TRIANGLES, _STRIP):
        return 0
    number = primitive.get("indices", primitive["attributes"]["POSITION"])
    count = int(document["accessors"][number]["count"])
    return count // 3 if mode == _TRIANGLES else max(count - 2, 0)


def _other_modes(document: Mapping[str, Any]) -> Iterator[str]:
    for mesh in document.get("meshes", ()):
        for primitive in mesh["primitives"]:
            if primitive.get("mode", _TRIANGLES) not in (_TRIANGLES, _STRIP):
                yield f"mode {primitive['mode']}"


def _extensions(materials: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for material in materials:
        yield from material.get("extensions", ())
        for texture in _texture_infos(material).values():
            yield from texture.get("extensions", ())


def _second_sets(document: Mapping[str, Any]) -> Iterator[str]:
    for material in document.get("materials", ()):
        for texture in _texture_infos(material).values():
            if texture.get("texCoord", 0):
                yield f"TEXCOORD_{texture['texCoord']}"
        if "normalTexture" in material:
            yield "normalTexture"


def _texture_infos(material: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    pbr = material.get("pbrMetallicRoughness", {})
    infos = {slot: pbr[slot] for slot in _PBR_SLOTS if slot in pbr}
    return infos | {slot: material[slot] for slot in _SLOTS if slot in material}


def _num_textures(document: Mapping[str, Any]) -> int:
    """Return how many slots of used materials have a map that a renderer of ours draws."""
    materials = document.get("materials", ())
    used = {
        primitive["material"]
        for mesh in document.get("meshes", ())
        for primitive in mesh["primitives"]
        if primitive.get("mode", _TRIANGLES) in (_TRIANGLES, _STRIP) and "material" in primitive
    }
    # specular-glossiness is converted, which leaves other maps than the file names
    plain = [
        materials[n] for n in used if "KHR_materials_pbrSpecularGlossiness" not in materials[n].get("extensions", ())
    ]
    return sum(len(_texture_infos(material).keys() - _NOT_DRAWN) for material in plain)
