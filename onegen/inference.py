"""Load a pinned model once per process, on one thread, so that the bytes it gives depend on nothing but its input.

Workers are the unit of parallelism: a session that took several threads would fight the other workers for the same
cores. Each runtime is imported when its first model is loaded.
"""

import functools
from typing import TYPE_CHECKING

from onegen.weights import model_file

if TYPE_CHECKING:
    import onnxruntime


@functools.lru_cache(maxsize=8)
def onnx_session(package: str, file: str) -> "onnxruntime.InferenceSession":
    """Return the onnxruntime session of a model file; raises ConfigError when it is missing or damaged."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model_file(package, file), options, providers=["CPUExecutionProvider"])
