"""Files beside a mesh: buffers, materials and textures, from its own folder and nowhere else."""

import io
import urllib.parse
from pathlib import Path

from PIL import Image
from trimesh.resolvers import Resolver

from onegen.errors import SampleError

MAX_TEXTURE_PIXELS = 2**27
"""Pixels of a texture that are still decoded: 134 million, a map of 8192 by 16384."""
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tga", ".tif", ".tiff", ".webp", ".gif")


class Beside(Resolver):
    """Gives trimesh the files that a mesh names. trimesh drops what it cannot have, so `faults` remembers the reasons.

    `folder` is the only place read from, links out of it included in the ban; None for a mesh that must stand alone.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = None if folder is None else folder.resolve()
        self.faults: list[SampleError] = []

    def get(self, key: str) -> bytes:
        """Return the bytes of a file by the name a mesh gives it; raises SampleError and keeps it in `faults`."""
        try:
            return self._read(str(key))
        except SampleError as fault:
            self.faults.append(fault)
            raise

    def _read(self, name: str) -> bytes:
        path = self._path(name)
        try:
            data = path.read_bytes()
        except (OSError, ValueError) as error:
            reason = "missing_texture" if path.suffix.lower() in _PICTURES else "missing_file"
            raise SampleError(reason, f"mesh names {name[:200]!r}, which must be there to read: {error}.") from error
        if path.suffix.lower() in _PICTURES:
            check_picture(data, name)
        return data

    def _path(self, name: str) -> Path:
        clean = name.strip().strip('"').replace("\\", "/")
        if "://" in clean or urllib.parse.urlsplit(clean).scheme in ("http", "https", "ftp", "file", "s3", "data"):
            raise SampleError("external_uri", f"mesh must not name files elsewhere, got {name[:200]!r}.")
        if self.folder is None:
            raise SampleError("external_uri", f"mesh must stand alone, got a reference to {name[:200]!r}.")
        path = self.folder / clean
        if not path.exists():
            path = self.folder / urllib.parse.unquote(clean)
        try:
            path = path.resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise SampleError("unsafe_path", f"mesh must name files in its folder, got {name[:200]!r}.") from error
        if not path.is_relative_to(self.folder):
            raise SampleError("unsafe_path", f"mesh must name files in its folder, got {name[:200]!r}.")
        return path

    def write(self, name: str, data: bytes) -> None:
        """Refuse: a mesh is read, never written here."""
        raise NotImplementedError

    def namespaced(self, namespace: str) -> "Beside":
        """Refuse: no reader of ours asks for a folder below."""
        raise NotImplementedError

    def keys(self) -> list[str]:
        """Return no names: what a mesh does not name, it does not get."""
        return []


def check_picture(data: bytes, name: str) -> None:
    """Raise SampleError `bad_texture` or `too_large_texture` for a texture that cannot or should not be decoded."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SampleError("bad_texture", f"texture {name[:200]!r} must decode: {error}.") from error
    if width * height > MAX_TEXTURE_PIXELS:
        raise SampleError("too_large_texture", f"texture {name[:200]!r} has {width}x{height} pixels.")
