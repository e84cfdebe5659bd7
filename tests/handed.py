"""A small dataset with every kind of column that is handed on: maps, masks, boxes, people, captions, scores."""

import hashlib
from pathlib import Path

from onegen.audit.export import Samples
from tests.brought import MAX_SIDE, write_folder
from tests.tiny import dataset, make_recipe, run

STAGES = [{"name": "look", "annotators": {"scores": {}, "entities": {}}}]


def build(root: Path, **changes: object) -> Path:
    """Build twelve photos with all that their source brings, four a shard, and return the dataset's folder."""
    source = write_folder(root / "photos")
    changes = {"image": {"max_side": MAX_SIDE, "attribution": "A <b>|Person|"}, **changes}
    recipe = make_recipe(root / "photos", STAGES, source=source, samples_per_shard=4, **changes)
    run(recipe, root / "out")
    return root / "out"


def samples(out: Path, *leave_out: str) -> Samples:
    """Return the samples of a dataset."""
    return Samples.of(dataset(out), frozenset(leave_out))


def bytes_of(folder: Path) -> dict[str, str]:
    """Return SHA-256 of every file of a folder, by name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
