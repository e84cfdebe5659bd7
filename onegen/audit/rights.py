"""What may be done with a dataset, as Markdown tables: licences of its images, and of models that annotated it."""

from collections.abc import Mapping

from onegen.sample import IMAGE, SELECT
from onegen.shards.manifest import Producer
from onegen.weights.published import PUBLISHED, forbids_commercial


def cell(text: str) -> str:
    """Return text as a cell of a Markdown table, whatever a source wrote: no markup, no HTML, one line."""
    plain = " ".join(text.split())
    for mark, escape in (
        ("\\", "\\\\"),
        ("|", "\\|"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("`", "\\`"),
        ("[", "\\["),
        ("]", "\\]"),
    ):
        plain = plain.replace(mark, escape)
    return plain


def asks_of(name: str, licence: str) -> str:
    """Return what a model's licence asks of whoever hands annotations on."""
    if name in PUBLISHED and PUBLISHED[name].note:
        return PUBLISHED[name].note
    if forbids_commercial(licence):
        return "no commercial use"
    return "nothing" if licence.upper().startswith(("CC0", "UNLICENSE", "PUBLIC")) else "its notice with the model"


def rights_table(licences: Mapping[str, int]) -> list[str]:
    """Return the licences of images by how many carry each, most first; those that forbid commerce are marked."""
    lines = ["| licence of images | images | commercial use |", "|---|---:|---|"]
    for name, count in sorted(licences.items(), key=lambda entry: (-entry[1], entry[0])):
        is_allowed = "ask" if name == "unknown" else "no" if forbids_commercial(name) else "as it says"
        lines.append(f"| {cell(name)} | {count:,} | {is_allowed} |")
    return lines


def weights_table(producers: Mapping[str, Producer]) -> list[str]:
    """Return what made each column: producer, model, revision, weights, licence and what it asks."""
    lines = ["| column | made by | model | revision | SHA-256 | licence | asks |", "|---|---|---|---|---|---|---|"]
    for column, producer in producers.items():
        if column in (IMAGE, SELECT):
            continue
        made_by = f"{producer.name}@{producer.version}"
        for weights in producer.weights or [{}]:
            name, licence = weights.get("name", ""), weights.get("licence", "")
            facts = [name, weights.get("revision", ""), weights.get("sha256", "")[:16], licence]
            facts.append(asks_of(name, licence) if weights else "")
            lines.append(f"| {' | '.join(cell(text) for text in (column, made_by, *facts))} |")
    return lines
