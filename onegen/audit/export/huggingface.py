"""A folder for HF `datasets`: Parquet with pictures in it, and a dataset card whose `configs:` name the splits.

`datasets.load_dataset("OUT")` reads it without being told anything, and so does the viewer of the hub.
"""

import json
from pathlib import Path

from onegen.audit.export.formats import Format, Handed, Wishes
from onegen.audit.export.parquet import Tables, write_tables
from onegen.audit.export.samples import Samples
from onegen.audit.rights import cell, rights_table, weights_table

_SPDX = {"cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "apache-2.0", "mit", "cc-by-2.0", "cc-by-3.0"}
"""Licences that the hub knows by these names; another stands in the card as `other`."""


def write(samples: Samples, out: Path, wishes: Wishes) -> Handed:
    """Write the folder."""
    tables = write_tables(samples, out, wishes.validation)
    (out / "README.md").write_text(_card(samples, tables), encoding="utf-8")
    return tables.handed


def _card(samples: Samples, tables: Tables) -> str:
    """Return the dataset card: metadata that the hub reads, then what people should know."""
    licences = [name.lower() for name in tables.licences]
    licence = licences[0] if len(licences) == 1 and licences[0] in _SPDX else "other"
    # JSON is YAML: names that only look like numbers or truth stay names.
    head = [
        f"license: {licence}",
        f"pretty_name: {json.dumps(samples.card.name)}",
        "configs:",
        "- config_name: default",
    ]
    head += ["  data_files:"] if tables.files else ["  data_files: []"]
    for split in sorted(tables.files):
        head += [f"  - split: {split}", f"    path: data/{split}-*.parquet"]
    lines = ["---", *head, "---", "", f"# {samples.card.name}", ""]
    lines += [f"{tables.handed.samples:,} samples, {tables.handed.images:,} images ({samples.told()})."]
    lines += [f"Made by onegen; version `{samples.version or 'none yet'}`.", ""]
    lines += ["| split | samples |", "|---|---:|"]
    lines += [f"| {name} | {count:,} |" for name, count in sorted(tables.handed.counts.items())]
    lines += ["", "A sample's split is a function of its key, or of its subject.", "", "## Rights", ""]
    lines += [f"How it was collected: {cell(samples.card.collected)}", ""] if samples.card.collected else []
    lines += ["Each row has `licence`, `attribution` and `uri` of its image.", ""]
    lines += [*rights_table(tables.licences), "", "## Annotations", "", *weights_table(samples.producers), ""]
    return "\n".join(lines)


FORMAT = Format(
    "huggingface",
    "Parquet with Image features, a dataset card with configs, splits by hash of the key",
    write,
    'datasets.load_dataset("{out}")',
)
