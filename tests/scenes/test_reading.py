"""Meshes out of files, and the traps of their loader. PYTHONPATH=. python -m pytest tests/scenes/test_reading.py"""

import json
import logging

import numpy as np
import pytest
import trimesh

from onegen.errors import SampleError
from onegen.scenes.mesh import normalise
from onegen.scenes.reading import load_mesh, read_mesh, up_axis
from tests.scenes import objects


def reason_of(data, suffix=".glb", folder=None, **options):
    with pytest.raises(SampleError) as caught:
        load_mesh(data, suffix, folder, **options)
    assert str(caught.value)
    return caught.value.reason


def triangle(faces=((0, 1, 2),), vertices=((0, 0, 0), (1, 0, 0), (0, 1, 0))):
    """A GLB made by hand: trimesh would not write what these tests need."""
    points, indices = np.array(vertices, "<f4"), np.array(faces, "<u4")
    blob = points.tobytes() + indices.tobytes()
    base = objects.glb(trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], process=False))
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": len(points), "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": indices.size, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": points.nbytes},
            {"buffer": 0, "byteOffset": points.nbytes, "byteLength": indices.nbytes},
        ],
        "buffers": [{"byteLength": len(blob)}],
    }

    def change(old):
        old.clear()
        old.update(document)

    rewritten = objects.with_header(base, change)
    _, binary = objects.header_of(base)
    head = rewritten[: len(rewritten) - len(binary) - 8]
    chunks = len(blob).to_bytes(4, "little") + b"BIN\0" + blob
    whole = head + chunks
    return whole[:8] + len(whole).to_bytes(4, "little") + whole[12:]


def test_a_textured_glb_becomes_plain_arrays():
    mesh = load_mesh(objects.glb(objects.sphere(2)), ".glb")
    assert mesh.positions.shape[1] == mesh.normals.shape[1] == 3
    assert mesh.faces.max() < len(mesh.positions)
    assert mesh.materials[0].colour_map.shape == (256, 256, 4)
    assert mesh.flags == frozenset()
    assert mesh.ignored == ()


@pytest.mark.parametrize("kind", ["obj", "ply", "glb"])
def test_the_same_triangles_come_out_of_every_format(kind):
    cube = trimesh.creation.box(extents=(1, 2, 3))
    data = cube.export(file_type=kind)
    mesh = load_mesh(data if isinstance(data, bytes) else data.encode(), f".{kind}")
    assert len(mesh.faces) == 12
    np.testing.assert_allclose(np.ptp(mesh.positions, axis=0), [1, 2, 3], atol=1e-6)
    assert "untextured" in mesh.flags


def test_nodes_place_their_meshes_and_mirrors_turn_normals_with_them():
    away = np.diag([2.0, 1.0, 1.0, 1.0])
    away[:3, 3] = [10, 0, 0]
    mesh = load_mesh(objects.glb(objects.cube(2), objects.sphere(2), transforms=[np.eye(4), away]), ".glb")
    np.testing.assert_allclose([mesh.positions.min(0), mesh.positions.max(0)], [[-1, -1, -1], [12, 1, 1]], atol=1e-3)
    assert len(mesh.materials) == 2
    assert set(mesh.face_material) == {0, 1}


def test_a_mesh_is_turned_centred_and_scaled_once_from_its_vertices():
    # render.md: the corners of rotated nodes' boxes give a looser box than the vertices do
    turn = trimesh.transformations.rotation_matrix(np.radians(45), [0, 0, 1])
    mesh, placement = normalise(load_mesh(objects.glb(objects.cube(2), transforms=[turn]), ".glb"), "y", "cube")
    np.testing.assert_allclose(np.ptp(mesh.positions, axis=0), [1, 1 / np.sqrt(2), 1], atol=1e-6)
    np.testing.assert_allclose(placement.scale, 1 / (2 * np.sqrt(2)), rtol=1e-6)
    ball, _ = normalise(load_mesh(objects.glb(objects.sphere(2)), ".glb"), "y", "sphere")
    assert np.linalg.norm(ball.positions, axis=1).max() == pytest.approx(0.5, abs=1e-6)


def test_the_placement_is_the_map_from_the_file_to_the_world():
    raw = load_mesh(objects.glb(objects.cube(3)), ".glb")
    moved = raw.positions + np.float32([1, 2, 3])
    mesh, placement = normalise(type(raw)(**{n: getattr(raw, n) for n in raw.__slots__} | {"positions": moved}), "y")
    ones = np.concatenate([moved, np.ones((len(moved), 1))], axis=1)
    np.testing.assert_allclose((ones @ placement.matrix.T)[:, :3], mesh.positions, atol=1e-6)


def test_gltf_is_y_up_and_other_files_say_nothing_of_it():
    assert up_axis(".GLB", "z") == "y"
    assert up_axis(".obj") == "y"
    assert up_axis(".ply", "z") == "z"


def test_a_scale_of_zero_in_a_far_away_vertex_no_face_uses_changes_nothing():
    data = triangle(vertices=[(0, 0, 0), (1, 0, 0), (0, 1, 0), (1e9, np.nan, 0)])
    mesh, _ = normalise(load_mesh(data, ".glb"))
    assert np.ptp(mesh.positions[:3], axis=0).max() > 0.5


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (triangle(faces=[(0, 1, 7)]), "bad_index"),
        (triangle(vertices=[(0, 0, 0), (np.inf, 0, 0), (0, 1, 0)]), "not_finite"),
        (triangle(vertices=[(0, 0, 0), (np.nan, 0, 0), (0, 1, 0)]), "not_finite"),
        (triangle(vertices=[(1, 1, 1)] * 3), "no_extent"),
        (triangle(faces=np.zeros((0, 3))), "empty_mesh"),
        (b"", "unreadable_mesh"),
        (b"glTF\2\0\0\0", "unreadable_mesh"),
        (b"\x89PNG\r\n", "unreadable_mesh"),
        (objects.glb(objects.cube())[:300], "unreadable_mesh"),
        (objects.glb(objects.cube())[:-40], "unreadable_mesh"),
    ],
)
def test_a_broken_file_has_a_reason(data, reason):
    assert reason_of(data) == reason


def test_a_file_of_another_kind_is_said():
    assert reason_of(b"x", ".fbx") == "unknown_mesh_format"


@pytest.mark.parametrize("text", ["", "v 0 0 0\nv 1 0 0\nv 0 1 0\n", "# nothing\n"])
def test_an_obj_without_faces_is_empty(text):
    assert reason_of(text.encode(), ".obj") in ("empty_mesh", "unreadable_mesh")


def test_an_obj_that_indexes_what_it_has_not_is_refused():
    assert reason_of(b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", ".obj") == "bad_index"


def change_of(**keys):
    return lambda document: document.update(keys)


def sparse(document):
    document["accessors"][0]["sparse"] = {"count": 1}


def circle(document):
    document["nodes"][0]["children"] = [0]


def shared_child(document):
    document["nodes"] = [{"children": [2]}, {"children": [2]}, {"mesh": 0}]


def huge_accessor(document):
    document["accessors"][0]["count"] = 10**9


def lost_mesh(document):
    for node in document["nodes"]:
        node["mesh"] = 99


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (change_of(extensionsRequired=["KHR_texture_basisu"]), "unsupported_feature"),
        (change_of(extensionsRequired=["EXT_meshopt_compression"]), "unsupported_feature"),
        (sparse, "unsupported_feature"),
        (circle, "unreadable_mesh"),
        (shared_child, "unreadable_mesh"),
        (huge_accessor, "too_many_faces"),
        (lost_mesh, "unreadable_mesh"),
        (change_of(buffers=[{"byteLength": 5, "uri": "https://example.org/a.bin"}]), "external_uri"),
        (change_of(buffers=[{"byteLength": 5, "uri": "../../etc/passwd"}]), "unsafe_path"),
        (change_of(buffers=[{"byteLength": 5, "uri": "/etc/passwd"}]), "unsafe_path"),
        (change_of(buffers=[{"byteLength": 5, "uri": "%2e%2e/%2e%2e/etc/passwd"}]), "unsafe_path"),
        (change_of(buffers=[{"byteLength": 5, "uri": "absent.bin"}]), "missing_file"),
    ],
)
def test_a_header_that_asks_for_what_is_not_given_has_a_reason(change, reason, tmp_path):
    assert reason_of(objects.with_header(objects.glb(objects.sphere(1)), change), folder=tmp_path) == reason


def test_ten_million_faces_are_refused_before_they_are_read():
    def announce(document):
        for accessor in document["accessors"]:
            if accessor["type"] == "SCALAR":
                accessor["count"] = 30_000_000

    assert reason_of(objects.with_header(objects.glb(objects.cube()), announce)) == "too_many_faces"
    ply = b"ply\nformat ascii 1.0\nelement vertex 3\nelement face 10000000\nend_header\n"
    assert reason_of(ply, ".ply") == "too_many_faces"
    assert reason_of(b"v 0 0 0\n" + b"f 1 1 1\n" * 50, ".obj", max_faces=49) == "too_many_faces"


def test_instances_count_as_faces():
    def repeat(document):
        node = next(node for node in document["nodes"] if "mesh" in node)
        first = len(document["nodes"])
        document["nodes"] += [dict(node) for _ in range(100)]
        root = document["nodes"][document["scenes"][0]["nodes"][0]]
        root["children"] = [*root.get("children", []), *range(first, first + 100)]

    assert reason_of(objects.with_header(objects.glb(objects.cube()), repeat), max_faces=500) == "too_many_faces"


@pytest.mark.parametrize("broken", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_a_texture_that_does_not_decode_is_missed(broken, tmp_path):
    def name(document):
        document["images"] = [{"uri": "map.png"}]

    data = objects.with_header(objects.glb(objects.sphere(1)), name)
    assert reason_of(data, folder=tmp_path) == "missing_texture"
    (tmp_path / "map.png").write_bytes(broken)
    assert reason_of(data, folder=tmp_path) == "bad_texture"
    (tmp_path / "map.png").write_bytes(objects.png(objects.checker()))
    assert load_mesh(data, ".glb", tmp_path).materials[0].colour_map is not None


def test_an_embedded_texture_that_does_not_decode_is_missed():
    def point_elsewhere(document):
        document["images"][0]["bufferView"] = 0

    assert reason_of(objects.with_header(objects.glb(objects.sphere(1)), point_elsewhere)) == "missing_texture"


def test_a_texture_cut_short_is_said():
    def inline(document):
        import base64

        whole = objects.png(objects.picture(np.random.default_rng(0).integers(0, 255, (64, 64, 3))))
        document["images"] = [{"uri": "data:image/png;base64," + base64.b64encode(whole[:2000]).decode()}]

    assert reason_of(objects.with_header(objects.glb(objects.sphere(1)), inline)) == "bad_texture"


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret.bin").write_bytes(b"x" * 100)
    (tmp_path / "inside" / "a.bin").symlink_to(tmp_path / "secret.bin")
    data = objects.with_header(objects.glb(objects.cube()), change_of(buffers=[{"byteLength": 5, "uri": "a.bin"}]))
    assert reason_of(data, folder=tmp_path / "inside") == "unsafe_path"


def test_a_mesh_without_a_folder_stands_alone():
    assert reason_of(b"mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", ".obj") == "external_uri"


def test_a_map_in_an_mtl_is_not_darkened_by_kd(tmp_path):
    (tmp_path / "a.mtl").write_text("newmtl m\nKd 0.4 0.4 0.4\nmap_Kd a.png\nnewmtl n\nKd 0.25 0.5 0.75\n")
    (tmp_path / "a.png").write_bytes(objects.png(objects.quarters()))
    corners = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\n"
    (tmp_path / "a.obj").write_text(f"mtllib a.mtl\n{corners}usemtl m\nf 1/1 2/2 3/3\nusemtl n\nf 3/3 2/2 1/1\n")
    mesh = read_mesh(tmp_path / "a.obj")
    mapped = next(material for material in mesh.materials if material.colour_map is not None)
    plain = next(material for material in mesh.materials if material.colour_map is None)
    assert mapped.colour == (1, 1, 1, 1)
    assert plain.colour[:3] == pytest.approx((0.25, 0.5, 0.75), abs=0.005)
    assert mapped.metallic == plain.metallic == 0


def test_an_mtl_that_names_a_map_elsewhere_or_nowhere_is_said(tmp_path):
    for name, reason in [
        ("../up.png", "unsafe_path"),
        ("no.png", "missing_texture"),
        ("http://a.b/c.png", "external_uri"),
    ]:
        (tmp_path / "a.mtl").write_text(f"newmtl m\nmap_Kd {name}\n")
        obj = b"mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nusemtl m\nf 1/1 2/1 3/1\n"
        assert reason_of(obj, ".obj", tmp_path) == reason


def test_what_moves_and_what_is_left_out_is_told():
    def adorn(document):
        document["animations"] = [{"channels": [], "samplers": []}]
        document["extensionsUsed"] = ["KHR_texture_transform", "KHR_materials_unlit"]
        document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]["texCoord"] = 1

    mesh = load_mesh(objects.with_header(objects.glb(objects.sphere(1)), adorn), ".glb")
    assert mesh.flags == {"animated"}
    assert mesh.ignored == ("KHR_materials_unlit", "KHR_texture_transform", "TEXCOORD_1")


@pytest.mark.parametrize(
    "extension",
    [
        "KHR_texture_transform",
        "KHR_materials_clearcoat",
        "KHR_materials_transmission",
        "KHR_materials_unlit",
        "EXT_meshopt_compression",
        "KHR_texture_basisu",
    ],
)
def test_an_extension_that_trimesh_ignores_is_told_where_it_is_used_and_refused_where_it_is_required(extension):
    ball = objects.glb(objects.sphere(1))
    used = objects.with_header(ball, change_of(extensionsUsed=[extension]))
    assert extension in load_mesh(used, ".glb").ignored
    required = objects.with_header(ball, change_of(extensionsUsed=[extension], extensionsRequired=[extension]))
    assert reason_of(required) == "unsupported_feature"


def test_a_texture_transform_is_found_where_it_stands():
    def shift(document):
        moved = {"KHR_texture_transform": {"offset": [0.5, 0]}}
        document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]["extensions"] = moved

    assert load_mesh(objects.with_header(objects.glb(objects.sphere(1)), shift), ".glb").ignored == (
        "KHR_texture_transform",
    )


def test_skins_are_drawn_as_they_lie_and_flagged():
    def skin(document):
        document["skins"] = [{"joints": [0]}]

    assert "animated" in load_mesh(objects.with_header(objects.glb(objects.sphere(1)), skin), ".glb").flags


@pytest.mark.parametrize("scenes", [[], [{"nodes": []}]])
def test_a_scene_without_nodes_is_no_object(scenes):
    data = objects.with_header(objects.glb(objects.cube()), change_of(scenes=scenes, nodes=[]))
    assert reason_of(data) in ("empty_mesh", "unreadable_mesh")


def test_a_map_is_the_right_way_up():
    # trimesh puts the origin at the lower left; ours, as glTF's, is the first row
    mesh = load_mesh(objects.glb(objects.quad(objects.quarters())), ".glb")
    top = mesh.positions[:, 1] > 0
    np.testing.assert_allclose(mesh.uv[top][:, 1], 0, atol=1e-6)
    np.testing.assert_allclose(mesh.uv[~top][:, 1], 1, atol=1e-6)
    assert mesh.materials[0].colour_map[0, 0].tolist() == [255, 0, 0, 255]


def test_draco_is_decoded_and_never_leaves_zeros():
    dracopy = pytest.importorskip("DracoPy")
    data = trimesh.Scene([objects.sphere(3)]).export(file_type="glb", extension_draco=True)
    if "KHR_draco_mesh_compression" not in json.dumps(objects.header_of(data)[0]):
        pytest.skip(f"this trimesh does not write Draco ({dracopy.__name__})")
    mesh = load_mesh(data, ".glb")
    np.testing.assert_allclose(np.linalg.norm(mesh.positions, axis=1), 1, atol=1e-3)


def test_a_draco_blob_that_does_not_decode_is_said_not_drawn(caplog):
    def compress(document):
        document["extensionsUsed"] = document["extensionsRequired"] = ["KHR_draco_mesh_compression"]
        for primitive in document["meshes"][0]["primitives"]:
            primitive["extensions"] = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}
        for accessor in document["accessors"]:
            accessor.pop("bufferView")

    with caplog.at_level(logging.ERROR):
        assert reason_of(objects.with_header(objects.glb(objects.cube()), compress)) in ("no_extent", "unreadable_mesh")


def test_vertex_colours_count_as_texture_and_are_linear_where_their_format_says():
    ball = trimesh.creation.icosphere(subdivisions=1)
    ball.visual.vertex_colors = np.random.default_rng(0).integers(0, 255, (len(ball.vertices), 4))
    ball.visual.vertex_colors[:, 3] = 255
    plain = ball.visual.vertex_colors[0, 0] / 255
    for kind, expected in (("ply", ((plain + 0.055) / 1.055) ** 2.4), ("glb", plain)):
        mesh = load_mesh(ball.export(file_type=kind), f".{kind}")
        assert mesh.flags == frozenset()
        assert mesh.colours[0, 0] == pytest.approx(expected, abs=1e-3)


def test_a_file_without_normals_is_flat_and_one_with_them_smooth():
    ball = objects.sphere(2)
    flat = load_mesh(objects.glb(ball), ".glb")
    smooth = load_mesh(trimesh.Scene([ball]).export(file_type="glb", include_normals=True), ".glb")
    assert not flat.normals.any()
    np.testing.assert_allclose(smooth.normals, smooth.positions, atol=0.02)


def test_normals_keep_their_length_and_turn_with_their_node():
    squeeze = np.diag([0.01, 0.01, -0.02, 1.0])
    scene = trimesh.Scene()
    scene.add_geometry(objects.sphere(2), transform=squeeze)
    mesh = load_mesh(scene.export(file_type="glb", include_normals=True), ".glb")
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-4)
    # of an ellipsoid: along the gradient of its equation, outwards on both ends of the mirrored axis
    gradient = mesh.positions / np.float32([1e-4, 1e-4, 4e-4])
    gradient /= np.linalg.norm(gradient, axis=1, keepdims=True)
    assert (np.abs((gradient * mesh.normals).sum(axis=1)) > 0.99).all()


def test_many_textures_are_decoded_once_each():
    texture = objects.checker()
    one, other = objects.quad(texture), objects.quad(texture)
    mesh = load_mesh(objects.glb(one, other), ".glb")
    assert len({id(material.colour_map) for material in mesh.materials}) == 1
