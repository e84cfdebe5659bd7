"""Hand a dataset on in the formats of others. `onegen export DATASET OUT --to FORMAT`. docs/export.md.

A format is a file here and a line in `FORMATS`.
"""

from collections.abc import Mapping
from pathlib import Path

from onegen.audit.export import coco, croissant, fiftyone, huggingface, nerfstudio, webdataset
from onegen.audit.export.formats import Format, Handed, Wishes
from onegen.audit.export.samples import Samples
from onegen.errors import ConfigError, nearest
from onegen.storage.whole import whole_folder

FORMATS: Mapping[str, Format] = {
    module.FORMAT.name: module.FORMAT for module in (coco, huggingface, croissant, webdataset, fiftyone, nerfstudio)
}


ALIASES = {"hf": "huggingface", "energon": "webdataset", "wids": "webdataset"}
"""Other names that people know formats by."""


def find_format(name: str) -> Format:
    """Return a format by its name; raises ConfigError with the nearest."""
    name = ALIASES.get(name, name)
    if name not in FORMATS:
        raise ConfigError(f"--to must be a format, got {name!r}; {nearest(name, [*FORMATS, *ALIASES])}")
    return FORMATS[name]


def export(samples: Samples, out: Path, to: Format, wishes: Wishes) -> Handed:
    """Write samples into a new folder, whole or not at all.

    Raises ConfigError: `out` is there already, a damaged shard, a share outside [0, 1), nothing to hand on.
    """
    if not 0.0 <= wishes.validation < 1.0:
        raise ConfigError(f"--validation must be in [0, 1), got {wishes.validation}.")
    with whole_folder(out) as folder:
        handed = to.write(samples, folder, wishes)
        if not handed.samples:
            raise ConfigError(
                f"{samples.dataset.store.url} must have a sample to hand on, got none. See `onegen status`."
            )
    return handed


__all__ = ["FORMATS", "Format", "Handed", "Samples", "Wishes", "export", "find_format"]
