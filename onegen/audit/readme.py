"""The dataset's card for people: `README.md`, written by every build from what is committed, and covered by no digest.

Its first line says that it is ours and of which version it speaks. A README whose first line does not is a person's,
and is left alone. The same dataset always gives the same text.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq

from onegen.audit.readable import readable
from onegen.audit.rights import cell, rights_table, weights_table
from onegen.sample import IMAGE, PACKED, SELECT
from onegen.shards.canonical import canonical, sha256
from onegen.shards.dataset import Card, Dataset, file_of, folder
from onegen.shards.manifest import Counts, Manifest, Producer
from onegen.shards.takedowns import Takedowns, read_takedowns, taken_positions, version_of
from onegen.shards.views import OTHERS

README = "README.md"
_MARK = "<!-- onegen wrote this and writes it again after every build; delete this line and it is yours."
_MOST_NAMES = 10_000
"""Attributions that are told apart: beyond them they are only known to be more."""
_SHOWN = 20


def write_readme(dataset: Dataset) -> bool:
    """Write the card of a dataset unless it is there already or a person's; return whether it was written.

    Raises ConfigError for a damaged index.
    """
    card = dataset.require_card()
    first = _first_line(dataset, card)
    if dataset.store.exists(README):
        before = dataset.store.read(README).decode("utf-8", "replace").partition("\n")[0]
        # Without a version nothing says that the text is still true.
        if not before.startswith(_MARK) or (card.digest is not None and before == first):
            return False
    dataset.store.write(README, "\n".join([first, *_lines(dataset, card), ""]).encode())
    return True


def _first_line(dataset: Dataset, card: Card) -> str:
    """Return the mark, with a digest of everything the text is made from."""
    about = [card.digest, card.recipe_digest, card.plan.model_dump(), _packed(dataset, card).model_dump()]
    if digest := read_takedowns(dataset.store).digest:
        about += [digest, card.purged]
    return f"{_MARK} {sha256(canonical(about))[:16]} -->"


def _packed(dataset: Dataset, card: Card) -> Counts:
    return dataset.counts(PACKED) if card.recipe.get("pack") is not None else Counts(rows=0)


@dataclass
class _Rights:
    """Images by licence and by attribution; `more` says that there are attributions that were not counted."""

    images: int = 0
    licences: Counter[str] = field(default_factory=Counter)
    attributions: Counter[str] = field(default_factory=Counter)
    more: bool = False

    def add(self, image: Mapping[str, Any]) -> None:
        """Count one image."""
        self.images += 1
        self.licences[image["licence"] or "unknown"] += 1
        name = image["attribution"]
        if name and (name in self.attributions or len(self.attributions) < _MOST_NAMES):
            self.attributions[name] += 1
        elif name:
            self.more = True


def _rights_of(dataset: Dataset) -> _Rights:
    rights, takedowns = _Rights(), read_takedowns(dataset.store)
    for manifest in dataset.manifests(IMAGE):
        for image in _images(dataset, manifest, taken_positions(dataset, takedowns, manifest)):
            rights.add(image)
    return rights


def _images(dataset: Dataset, manifest: Manifest, taken: Set[int]) -> Iterator[Mapping[str, Any]]:
    """Yield licence and attribution of every stored image of a shard that was not taken down."""
    name = f"{folder(IMAGE)}/{file_of(manifest, '.parquet')}"
    with readable(name), dataset.store.open(name) as file:
        parquet = pq.ParquetFile(file)
        own = [c for c in ("status", "licence", "attribution", OTHERS) if c in parquet.schema_arrow.names]
        rows = parquet.read(columns=own, use_threads=False).to_pylist()
    for position, row in enumerate(rows):
        if row["status"] == "ok" and position not in taken:
            yield {"licence": row.get("licence"), "attribution": row.get("attribution")}
            for other in row.get(OTHERS) or ():
                yield {"licence": other.get("licence"), "attribution": other.get("attribution")}


def _lines(dataset: Dataset, card: Card) -> list[str]:
    """Return the text after the first line."""
    producers: dict[str, Producer] = {}
    for column in card.columns:
        manifest = next(dataset.manifests(column), None)
        if manifest is not None:
            producers[column] = manifest.producer
    rights = _rights_of(dataset)
    source = "; ".join(f"{name}: {value}" for name, value in sorted(card.source.items()))
    lines = ["", f"# {cell(card.name)}", ""]
    lines += [
        f"{card.plan.items:,} items of kind {card.kind} in {card.plan.shards:,} shards, {rights.images:,} images."
    ]
    takedowns = read_takedowns(dataset.store)
    version = version_of(card.digest, takedowns)
    lines += [f"Version `{version}`." if card.digest else "**Not finished**: `onegen status` says what is missing."]
    lines += [f"Source: {cell(source)}.", *([f"Planned with --limit {card.limit:,}."] if card.limit else []), ""]
    lines += [f"{cell(line)}." for line in card.plan.omissions()]
    lines += ["", "## Columns", "", *_columns(dataset, card)]
    lines += ["", "## Rights", "", *([f"How it was collected: {cell(card.collected)}", ""] if card.collected else [])]
    lines += [*rights_table(rights.licences), "", *_attributions(rights)]
    lines += ["", "Licence, attribution and source stand with every image: in the index, and in `key.json`.", ""]
    lines += ["## Models", "", *weights_table(producers), ""]
    return [*lines, *_reading(card), *_taken_down(card, takedowns)]


def _columns(dataset: Dataset, card: Card) -> list[str]:
    lines = ["| column | ok | skipped | filtered | failed | made by |", "|---|---:|---:|---:|---:|---|"]
    named = [(column, summary.counts, summary.producer) for column, summary in sorted(card.columns.items())]
    if card.recipe.get("pack") is not None:
        named.append((f"{PACKED} (packed)", _packed(dataset, card), "pack"))
    order = {IMAGE: 0, SELECT: 1}
    for column, counts, producer in sorted(named, key=lambda entry: order.get(entry[0], 2)):
        numbers = (counts.ok, counts.skipped, counts.filtered, counts.failed)
        lines.append(f"| {cell(column)} | {' | '.join(f'{n:,}' for n in numbers)} | {cell(producer)} |")
    return lines


def _attributions(rights: _Rights) -> list[str]:
    """Return who must be named, those of most images first."""
    most = sorted(rights.attributions.items(), key=lambda entry: (-entry[1], entry[0]))
    if not most:
        return ["No source named anybody to attribute images to."]
    lines = ["| attribution | images |", "|---|---:|"]
    lines += [f"| {cell(name)} | {count:,} |" for name, count in most[:_SHOWN]]
    left = f"more than {len(most) - _SHOWN:,}" if rights.more else f"{len(most) - _SHOWN:,}"
    return [*lines, "", f"And {left} others, all in the index."] if len(most) > _SHOWN or rights.more else lines


def _reading(card: Card) -> list[str]:
    last = card.plan.shards - 1
    packed = f"shards/{{000000..{last:06d}}}.tar" if last else "shards/000000.tar"
    how = [
        "```python",
        "import webdataset",
        "",
        f'shards = "{packed}"',
        'for sample in webdataset.WebDataset(shards, shardshuffle=False).decode("pil"):',
        '    print(sample["__key__"], sample["json"])',
        "```",
        "",
    ]
    has_view = card.recipe.get("pack") is not None
    return [
        "## Reading",
        "",
        *(how if has_view else ["It has no packed view: `onegen export` writes it in the formats of others.", ""]),
        "`onegen show`, `onegen verify --full` and `onegen export --to huggingface` take this folder.",
        "",
        "## Takedown",
        "",
        "Who wants a picture out writes to whoever gave you this dataset, and names its key (the name of its files",
        "before the first dot). `onegen takedown` leaves it out of all that onegen shows and hands on, `onegen purge`",
        "of every file.",
    ]


def _taken_down(card: Card, takedowns: Takedowns) -> list[str]:
    """Return how many requests there were, and whether files still hold what they name."""
    if not takedowns:
        return []
    held = "no file here holds anything of it" if card.purged == takedowns.digest else "files here still hold it"
    return ["", f"{len(takedowns):,} entries were taken down, version `{takedowns.digest}`: {held}."]
