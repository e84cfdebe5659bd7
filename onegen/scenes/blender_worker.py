"""Runs inside Blender, never inside onegen: draws objects with Cycles, one JSON line in, one out.

    blender --background --factory-startup --python blender_worker.py        or    python blender_worker.py   (with bpy)

It imports nothing of onegen, so that Blender's own Python can run it. Answers are lines that start with `onegen `;
whatever else Blender prints is passed over. Colours are PNG with alpha, depths raw float32 from the top row, 0 for
nothing. Blender's colour management is set to plain sRGB; its default would change every colour.
"""

import json
import math
import os
import sys
from typing import Any

import bpy
import mathutils
import numpy as np


def answer(document: dict[str, Any]) -> None:
    """Write one line to whoever asked."""
    sys.stdout.write("onegen " + json.dumps(document) + "\n")
    sys.stdout.flush()


def draw(job: dict[str, Any]) -> None:
    """Draw every view of one object into `job["out"]`."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    _import(job["path"])
    _place(mathutils.Matrix(job["matrix"]))
    scene = bpy.context.scene
    _set_up(scene, job)
    lights = _light(scene, job["lighting"])
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    for number, view in enumerate(job["cameras"]):
        _aim(camera, view)
        scene.render.filepath = os.path.join(job["out"], f"colour{number:04d}.png")
        bpy.ops.render.render(write_still=True)
    _make_depth(scene, lights)
    for number, view in enumerate(job["cameras"]):
        _aim(camera, view)
        path = os.path.join(job["out"], f"depth{number:04d}.exr")
        scene.render.filepath = path
        bpy.ops.render.render(write_still=True)
        _plain_depth(path).tofile(os.path.join(job["out"], f"depth{number:04d}.f32"))
        os.remove(path)


def _import(path: str) -> None:
    kind = os.path.splitext(path)[1].lower()
    if kind in (".glb", ".gltf"):
        bpy.ops.import_scene.gltf(filepath=path)
    elif kind == ".obj":  # Y forward and Z up turn nothing: whoever asks says which way is up
        bpy.ops.wm.obj_import(filepath=path, forward_axis="Y", up_axis="Z")
    else:
        bpy.ops.wm.ply_import(filepath=path, forward_axis="Y", up_axis="Z")
    for item in list(bpy.data.objects):
        if item.type in ("CAMERA", "LIGHT"):
            bpy.data.objects.remove(item)
        else:
            item.animation_data_clear()
    if not any(item.type == "MESH" for item in bpy.data.objects):
        raise ValueError("no mesh in the file")


def _place(matrix: Any) -> None:
    bpy.context.view_layer.update()
    for item in bpy.data.objects:
        if item.parent is None:
            item.matrix_world = matrix @ item.matrix_world
    bpy.context.view_layer.update()
    bare = bpy.data.materials.new("bare")
    bare.use_nodes = True
    shader = bare.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (0.8, 0.8, 0.8, 1.0)
    shader.inputs["Roughness"].default_value = 1.0
    for item in bpy.data.objects:
        if item.type == "MESH" and not item.data.materials:
            item.data.materials.append(bare)


def _set_up(scene: Any, job: dict[str, Any]) -> None:
    render = scene.render
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y, render.resolution_percentage = job["width"], job["height"], 100
    render.film_transparent = True
    render.use_persistent_data = True
    render.threads_mode, render.threads = "FIXED", job["threads"]
    render.image_settings.file_format, render.image_settings.color_mode = "PNG", "RGBA"
    render.image_settings.color_depth = "8"
    scene.view_settings.view_transform = "Standard"
    scene.view_settings.look = "None"
    cycles = scene.cycles
    cycles.device, cycles.samples, cycles.seed = "CPU", job["samples"], 0
    cycles.use_denoising, cycles.use_adaptive_sampling = False, False
    cycles.pixel_filter_type, cycles.filter_width = "BOX", 1.0
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 8, 1, 1


def _light(scene: Any, lighting: dict[str, Any]) -> list[Any]:
    world = bpy.data.worlds.new("world")
    scene.world = world
    world.use_nodes = True
    background = world.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    background.inputs["Strength"].default_value = lighting["world"]
    lights = []
    for sun in lighting["suns"]:
        data = bpy.data.lights.new("sun", "SUN")
        data.energy = math.pi * sun["strength"]  # a sun's energy is irradiance; a white surface sends a pi-th of it on
        data.angle = 0.0
        data.use_shadow = False
        light = bpy.data.objects.new("sun", data)
        light.rotation_mode = "QUATERNION"
        light.rotation_quaternion = mathutils.Vector(sun["towards"]).to_track_quat("Z", "Y")
        scene.collection.objects.link(light)
        lights.append(light)
    return lights


def _aim(camera: Any, view: dict[str, Any]) -> None:
    camera.matrix_world = mathutils.Matrix(view["camera_to_world"])
    lens = camera.data
    lens.sensor_fit, lens.sensor_width = "HORIZONTAL", 36.0
    lens.lens = 36.0 * view["focal_over_width"]
    lens.clip_start, lens.clip_end = 0.001, 1000.0


def _make_depth(scene: Any, lights: list[Any]) -> None:
    """Make every surface glow with its distance along the optical axis, at pixels' centres; holes stay holes."""
    for light in lights:
        light.hide_render = True
    scene.world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.0
    for material in bpy.data.materials:
        if material.node_tree is not None:
            _glow_with_depth(material.node_tree)
    scene.cycles.samples, scene.cycles.filter_width, scene.cycles.max_bounces = 1, 0.01, 0
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.image_settings.color_depth = "32"


def _glow_with_depth(tree: Any) -> None:
    outputs = [node for node in tree.nodes if node.type == "OUTPUT_MATERIAL"]
    output = outputs[0] if outputs else tree.nodes.new("ShaderNodeOutputMaterial")
    surface = next((node for node in tree.nodes if node.type == "BSDF_PRINCIPLED"), None)
    glow, distance = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeCameraData")
    tree.links.new(distance.outputs["View Z Depth"], glow.inputs["Strength"])
    shader = glow.outputs[0]
    alpha = surface.inputs["Alpha"] if surface is not None else None
    if alpha is not None and (alpha.is_linked or alpha.default_value < 0.5):
        is_there, mix = tree.nodes.new("ShaderNodeMath"), tree.nodes.new("ShaderNodeMixShader")
        is_there.operation = "GREATER_THAN"
        is_there.inputs[1].default_value = 0.4999
        if alpha.is_linked:
            tree.links.new(alpha.links[0].from_socket, is_there.inputs[0])
        else:
            is_there.inputs[0].default_value = alpha.default_value
        tree.links.new(is_there.outputs[0], mix.inputs[0])
        tree.links.new(tree.nodes.new("ShaderNodeBsdfTransparent").outputs[0], mix.inputs[1])
        tree.links.new(shader, mix.inputs[2])
        shader = mix.outputs[0]
    tree.links.new(shader, output.inputs["Surface"])


def _plain_depth(path: str) -> np.ndarray:
    image = bpy.data.images.load(path)
    width, height = image.size
    values = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(values)
    bpy.data.images.remove(image)
    values = values.reshape(height, width, 4)[::-1]  # Blender's rows start at the bottom
    return np.ascontiguousarray(np.where(values[..., 3] > 0.5, values[..., 0], 0).astype(np.float32))


def main() -> None:
    """Answer jobs until the input ends."""
    answer({"ready": bpy.app.version_string})
    for line in sys.stdin:
        try:
            draw(json.loads(line))
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            answer({"failed": f"{type(error).__name__}: {error}"})
        else:
            answer({"done": True})


if __name__ == "__main__":
    main()
