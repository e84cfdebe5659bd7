"""What the loader hands a trainer: the views of one sample for one task, and the prompt that goes with them.

numpy and plain data, so that a trainer that is not ours takes it too.
"""

from dataclasses import dataclass

import numpy as np

from onegen.geometry.cameras import Camera


@dataclass(frozen=True, slots=True)
class Example:
    """One training example.

    `views` are in the order of the task's row in `onegen.tasks.table`, the picture that a mask may generate first:
    RGB uint8 (H,W,3), all of one size, or the `Camera` of a ray view, its intrinsics for that size. `roles` names each.
    `prompt` is complete, task token and all; a dropped caption leaves the token alone. `seed` (63 bits) is the
    example's own: a pure function of the run's seed, the epoch and the sample, from which a trainer draws noise and
    times.
    """

    dataset: str
    key: str
    task: str
    prompt: str
    roles: tuple[str, ...]
    views: tuple[np.ndarray | Camera, ...]
    seed: int

    @property
    def size(self) -> tuple[int, int]:
        """The (height, width) of every view, pixels; the table has no task without a picture."""
        picture = next(view for view in self.views if isinstance(view, np.ndarray))
        return picture.shape[0], picture.shape[1]
