"""What this machine has, asked without importing what would use it."""

import glob
import os
import shutil
import subprocess
from pathlib import Path

ANSWER_SECONDS = 30
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def count_cores() -> int:
    """Return the cores this process may use."""
    return len(os.sched_getaffinity(0))


def count_gpus() -> int:
    """Return the GPUs that NVIDIA's or AMD's driver knows, of those that the environment leaves visible."""
    present = _count_nvidia() or _count_amd()
    for name in _VISIBLE:
        if name in os.environ:
            present = min(present, len([device for device in os.environ[name].split(",") if device.strip()]))
    return present


def gpu_bytes() -> int:
    """Return the memory of the smallest NVIDIA GPU in bytes; 0 where none is known."""
    lines = _ask_nvidia("--query-gpu=memory.total", "--format=csv,noheader,nounits")
    return min((int(line) for line in lines if line.strip().isdigit()), default=0) * 2**20


def _count_nvidia() -> int:
    return sum(line.startswith("GPU ") for line in _ask_nvidia("-L"))


def _ask_nvidia(*words: str) -> list[str]:
    """Return what NVIDIA's driver answers, by lines; none without one."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        told = subprocess.run([program, *words], capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return told.stdout.splitlines()


def _count_amd() -> int:
    """Count the nodes of AMD's driver that are no CPU."""
    nodes = glob.glob("/sys/class/kfd/kfd/topology/nodes/*/gpu_id")
    return sum(Path(node).read_text(encoding="ascii").strip() not in ("", "0") for node in nodes)
