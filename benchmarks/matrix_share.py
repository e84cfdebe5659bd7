"""How much of a trainer's CPU time goes into products of matrices and attention: told step by step, as a log is."""

import time
from collections.abc import Mapping

import torch

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::_scaled_dot_product")
"""How the names of torch's operations begin that are such products."""


class Profile:
    """Watches a run: `share` is that of the steps after the first `warm`, once the last is done."""

    def __init__(self, warm: int) -> None:
        self._warm = warm
        self._profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
        self._began = 0.0
        self.share = 0.0

    def note(self, line: str) -> None:
        """Pass it over."""

    def numbers(self, step: int, steps: int, numbers: Mapping[str, float], line: str) -> None:
        """Pass them over."""

    def step(self, step: int, steps: int) -> None:
        """Begin after the first steps, and end with the last."""
        if step == self._warm:
            self._profiler.start()
            self._began = time.process_time()
        elif step == steps:
            taken = time.process_time() - self._began
            self._profiler.stop()
            found = self._profiler.key_averages()
            own = sum(one.self_cpu_time_total for one in found if one.key.startswith(PRODUCTS))
            self.share = own / 1e6 / taken
