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


def _count_nvidia() -> int:
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def _count_amd() -> int:
    """Count the nodes of AMD's driver that are no CPU."""
    nodes = glob.glob("/sys/class/kfd/kfd/topology/nodes/*/gpu_id")
    return sum(Path(node).read_text(encoding="ascii").strip() not in ("", "0") for node in nodes)
