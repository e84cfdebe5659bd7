"""What a sample must have to serve a task: its kind, its columns, and how many images."""

from collections.abc import Mapping
from dataclasses import dataclass

from onegen.sample import Encoding, Kind
from onegen.tasks.conditions import CONDITIONS
from onegen.tasks.table import MAX_REFERENCES, TASKS

MAX_FRAMES = 6
"""Frames of a scene in one example, each a picture and a ray view: 4 to 12 views (paper, section 3.3)."""
SUBJECT, INSTRUCTION, CAMERA = "subject", "instruction", "camera"
"""Fields of the image column. A camera is `camera_to_world`, 16 numbers row by row, OpenCV axes, and `focal` (x, y)."""
COUNTS: Mapping[str, str] = {"pose": "num_people", "entities": "num_entities"}
"""By column: the field that must be above 0, or there is nothing to draw."""
MAPS: Mapping[str, tuple[str, str, Encoding]] = {
    "depth": ("depth", "depth.png", "gray16"),
    "hed": ("hed", "hed.png", "gray8"),
}
"""By role of a view: the column, part and encoding of a condition that is stored as a picture."""
MASKS: tuple[str, str, Encoding] = ("segmentation", "masks.png", "index")


@dataclass(frozen=True, slots=True)
class Needs:
    """What one task asks of a sample.

    `columns` must be ok; `field` is the field of the image column that must be said; `images` is the least number of
    images and `most` the largest that one example shows; `is_captioned` asks for a caption.
    """

    kind: Kind = "image"
    columns: tuple[str, ...] = ()
    field: str = ""
    images: int = 1
    most: int = 1
    is_captioned: bool = False


def _of_role(role: str) -> tuple[str, ...]:
    """Return the columns that the condition of a role is made from."""
    return (MAPS[role][0],) if role in MAPS else CONDITIONS[role].columns


NEEDS: Mapping[str, Needs] = {
    **{
        name: Needs(columns=_of_role(task.views[1]))
        for name, task in TASKS.items()
        if len(task.views) == 2 and (task.views[1] in CONDITIONS or task.views[1] in MAPS)
    },
    "text2image": Needs(is_captioned=True),
    "image_editing": Needs("pair", field=INSTRUCTION, images=2, most=2),
    "subject_driven": Needs("pair", field=SUBJECT, images=2, most=2),
    "faceid": Needs("identity", images=2, most=1 + MAX_REFERENCES),
    "multiview": Needs("scene", field=CAMERA, images=2, most=MAX_FRAMES),
}
"""By task. Pairs, identities and scenes serve the tasks that are made of them; single pictures serve all others."""
ORDER: tuple[str, ...] = tuple(TASKS)
"""The tasks by number, as arrays hold them."""
assert set(NEEDS) == set(TASKS), "every task of the table can be loaded"


def parts_of(task: str) -> dict[str, str]:
    """Return the parts that a task reads of an image beside its pixels: part name to the column it is of."""
    role = TASKS[task].views[-1]
    if role in MAPS:
        return {MAPS[role][1]: MAPS[role][0]}
    return {MASKS[1]: MASKS[0]} if role == "semantic_map" else {}
