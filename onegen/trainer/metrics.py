"""What a run says of itself: JSON lines, TensorBoard where it is installed, and a line for people."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from onegen.errors import Stopped
from onegen.storage.whole import whole

FILE = "metrics.jsonl"


class Metrics:
    """The metrics of a run in a folder; lines after `step`, of a run that went on longer before it broke, are cut."""

    def __init__(self, run: Path, step: int) -> None:
        self._path = run / FILE
        self._keep_until(step)
        self._board = _board(run / "tensorboard", step)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add the numbers of a step; raises Stopped where the disk does not take them."""
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **numbers}, allow_nan=False) + "\n")
        except OSError as error:
            raise Stopped(f"{self._path} could not be written: {error.strerror or error}.") from error
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(name, value, step)

    def picture(self, name: str, pixels: Any, step: int) -> None:
        """Add a picture, uint8 (H,W,3), where there is a TensorBoard."""
        if self._board is not None:
            self._board.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Write out what is waiting."""
        if self._board is not None:
            self._board.close()

    def _keep_until(self, step: int) -> None:
        if not self._path.exists():
            return
        kept = [line for line in self._path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
        with whole(self._path) as part:
            part.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _step_of(line: str) -> float:
    """Return the step of a line; a half-written one, of a run that was killed, is after all others."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    make: Callable[..., Any] = SummaryWriter
    return make(str(folder), purge_step=step + 1)


def told(step: int, steps: int, numbers: Mapping[str, float]) -> str:
    """Return the line for people: step, losses, speed, the time that is left."""
    losses = [
        f"{name.removeprefix('loss/')} {value:.4f}" for name, value in numbers.items() if name.startswith("loss/")
    ]
    parts = [f"step {step:,}/{steps:,}", f"loss {numbers['loss']:.4f}", *losses]
    parts.append(f"{numbers['samples_per_second']:,.1f} samples/s, {numbers['tokens_per_second']:,.0f} tokens/s")
    if numbers.get("mfu"):
        parts.append(f"MFU {numbers['mfu']:.1%}")
    left = int(numbers["eta_seconds"])
    parts.append(f"ETA {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}")
    return ", ".join(parts)
