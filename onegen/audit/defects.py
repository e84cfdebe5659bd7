"""One thing that is unsound in what a dataset says of its samples."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Defect:
    """A kind of defect, where it is, and what is wrong.

    What is of a shard as a whole has no key; what is of the dataset as a whole has no column, and shard -1.
    """

    kind: str
    column: str
    shard: int
    key: str | None
    what: str
