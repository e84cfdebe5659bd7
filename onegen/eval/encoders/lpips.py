"""LPIPS (Zhang et al., CVPR 2018): the heads come with the package `lpips`, the trunk is a file of torchvision's.

The trunk is looked for where it is said to be, else where torch.hub keeps what it downloads; nothing is downloaded.
"""

import functools
import importlib.util
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from onegen.errors import ConfigError
from onegen.weights.packages import sha256_file

Trunk = Literal["alex", "squeeze"]
FILES: dict[Trunk, str] = {"alex": "alexnet-owt-7be5be79.pth", "squeeze": "squeezenet1_1-b8a52dc0.pth"}
"""What torchvision calls the weights of each trunk."""


@dataclass(frozen=True)
class Lpips:
    """The distance of two pictures; `path` is the trunk's file, None for torch.hub's folder."""

    trunk: Trunk
    path: Path | None = None

    def lacks(self) -> str:
        """Return what must be installed or brought for it, empty where all is there."""
        for module in ("torch", "lpips"):
            if importlib.util.find_spec(module) is None:
                return f"needs the package {module}: pip install 'onegen[eval]'"
        if not self._file().is_file():
            return f"needs {FILES[self.trunk]} of torchvision at {self._file()}, or -O lpips_trunk=FILE"
        return ""

    def is_torchvisions(self) -> bool:
        """Say whether the trunk's file is the one of its name, which ends in the first digits of its hash."""
        digits = FILES[self.trunk].partition(".")[0].rpartition("-")[2]
        return not self.lacks() and sha256_file(self._file()).startswith(digits)

    def distance(self, picture: np.ndarray, truth: np.ndarray) -> float:
        """Return the distance of two float (H,W,3) pictures in [0, 1]."""
        import torch

        pair = [torch.from_numpy(image.astype(np.float32) * 2 - 1).permute(2, 0, 1)[None] for image in (picture, truth)]
        with torch.inference_mode():
            return float(_network(self.trunk, self._file())(*pair))

    def identity(self) -> list[dict[str, str]]:
        """Return what a result records of the weights."""
        path = self._file()
        return [{"name": f"lpips-{self.trunk}", "revision": path.name, "sha256": sha256_file(path), "licence": "BSD"}]

    def _file(self) -> Path:
        if self.path is not None:
            return self.path
        import torch

        return Path(torch.hub.get_dir()) / "checkpoints" / FILES[self.trunk]


@functools.cache
def _network(trunk: Trunk, path: Path) -> Any:
    """Return the network: the packaged heads on a trunk whose layers have torchvision's numbers."""
    import lpips
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks torchvision in the words of an older version
        network = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        layers = {name.removeprefix("features."): value for name, value in weights.items() if "features." in name}
        for name, _ in list(network.net.named_parameters()):
            own = dict(network.net.named_parameters())[name]
            with torch.no_grad():
                own.copy_(layers[name.partition(".")[2]])
    except (OSError, KeyError, RuntimeError, AttributeError, EOFError) as error:
        raise ConfigError(f"trunk of LPIPS must be torchvision's {FILES[trunk]}, got {path}: {error}") from error
    return network.eval().requires_grad_(False)
