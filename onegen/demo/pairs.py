"""Pairs made from the demo photos, for the recipes of kind pair: `python -m onegen.demo.photos DIR --pairs`.

`edits.parquet` has the columns of OmniEdit, `subjects.parquet` those of Subjects200K, both with licence and attribution
of the photo beside each pair. No model judged them: an edit is true because it was computed.
"""

from pathlib import Path

from onegen.demo.edits import edits_table
from onegen.demo.subjects import subjects_table
from onegen.demo.table import place


def write_pairs(folder: Path) -> dict[str, int]:
    """Write both tables beside the demo photos of a folder, and return how many pairs each has.

    A table that is there already is left alone. Raises ConfigError where a photo is missing, or another table is in
    the way.
    """
    counts = {}
    for name, table in (("edits.parquet", edits_table(folder)), ("subjects.parquet", subjects_table(folder))):
        place(folder / name, table)
        counts[name] = table.num_rows
    return counts
