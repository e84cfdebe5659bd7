"""Records of what is to be done: how a column is made, and what the user allowed to be thrown away or tried again."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from onegen.executor.contract import Retry
from onegen.sample import Annotator, Part, Provides
from onegen.shards.manifest import Provenance


@dataclass(frozen=True)
class ColumnJob:
    """How one column is made.

    `gates` are the columns whose row must be ok, in order (image, select, then those the annotator requires; none for
    the image column itself); `provides` says what each of them stores; the `where` of the provenance skips rows,
    evaluated over `where_scope`. `part_names` maps the parts of a column that is called otherwise than its annotator
    to the names they are stored under. `is_whole` says that an image that is not ok takes its whole sample.
    """

    annotator: Annotator
    provenance: Provenance
    gates: tuple[str, ...] = ()
    provides: Mapping[str, Provides] = field(default_factory=dict)
    where_scope: Mapping[str, Mapping[str, pa.DataType]] = field(default_factory=dict)
    part_names: Mapping[str, str] = field(default_factory=dict)
    is_whole: bool = True

    @property
    def column(self) -> str:
        """The column's name."""
        return self.provenance.column

    @property
    def inputs(self) -> tuple[str, ...]:
        """Every column this one is made from: its gates and what `where` names."""
        return tuple(dict.fromkeys((*self.gates, *self.where_scope)))


@dataclass(frozen=True)
class Permissions:
    """What the user allowed.

    Columns `permitted` by --recompute, all that may `follow` (they and what is made from them), and the failures to
    retry by column.
    """

    permitted: frozenset[str] = frozenset()
    follow: frozenset[str] = frozenset()
    retries: Mapping[str, Retry] = field(default_factory=dict)


def part_names(column: str, name: str, provides: Provides) -> dict[str, str]:
    """Return what the parts are called of a column that has another name than what makes it: by the column.

    So that two columns of one modality can lie in one packed sample: `depth_b.png` beside `depth.png`.
    """
    if column == name:
        return {}
    names = [part.name for part in provides.parts]
    return {part: f"{column}.{part.partition('.')[2] if len(names) == 1 else part}" for part in names}


def stored(provides: Provides, names: Mapping[str, str]) -> Provides:
    """Return what a column stores: what its annotator provides, parts under the names they have there."""
    parts = tuple(Part(names.get(part.name, part.name), part.encoding) for part in provides.parts)
    return Provides(parts, provides.fields)
