"""Edit and subject pairs from Parquet tables, one pair a row, or tars: the target comes first, the source second.

Two pictures in two columns, as OmniEdit or InstructPix2Pix have them:

    {pairs: ./omniedit/*.parquet, target: edited_img, source: src_img, instruction: edited_prompt_list, keep: [o_score]}

or one picture of both side by side, as Subjects200K has them: 1056x528 pixels, two tiles of 528 with 8 pixels of margin
on each side. That was taken from descriptions of it and not checked on the data itself: look at the first pairs before
you build them all.

    {pairs: ./subjects/*.parquet, image: image, margin: 8, subject: description.item,
     source_caption: description.description_0, target_caption: description.description_1, keep: [quality_assessment]}

Its own loaders cut tiles that lie otherwise; `panels` cuts any boxes, that of the target first:

    {pairs: ./subjects/*.parquet, image: image, panels: [[528, 8, 1040, 520], [8, 8, 520, 520]], subject: ...}

An edit has an `instruction` that leads from source to target, a subject pair the name of the `subject` both show.
Pictures, paths and names with dots are as in the source `parquet`.

Of WebDataset tars (a path, glob or range that ends with .tar) one key is a pair, and the options name its members: of
0001.target.jpg, 0001.source.jpg and 0001.json

    {pairs: ./edits/*.tar, target: target.jpg, source: source.jpg, instruction: json.prompt, keep: [score]}

where `txt` would be the text of 0001.txt, and `keep` names fields of 0001.json.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

from onegen.config.registry import register
from onegen.errors import ConfigError
from onegen.sample import Kind, Panel, SourceImage, SourceItem
from onegen.shards.plan import PlannedItem
from onegen.sources.reading.columns import TextColumn, text_column
from onegen.sources.reading.table import Table, TableRow
from onegen.sources.reading.table_source import TableSource
from onegen.sources.reading.tar_table import TarRow, TarTable

Box = tuple[int, int, int, int]


@register("sources", "pairs")
@dataclass(frozen=True)
class Pairs(TableSource):
    """Pairs in `pairs`: a file, a glob, a folder or a range in braces, local or any fsspec URL; tars end with .tar.

    `target` and `source` name columns of pictures, or members of a tar; or `image` one of pictures of both side by
    side, each half within `margin` pixels on every side, the target on the `target_side`; or the `panels` of it, boxes
    [x0, y0, x1, y1] in its pixels as viewers show it, the target's first. Further columns are named by `instruction`
    (text, or a list of paraphrases whose first is taken; {column: prompts, pick: random} takes any) or `subject`, and
    by `target_caption`, `source_caption`, `licence`, `attribution`, `url` and `keep`; licence and attribution are of
    both images. With `url` or `keep` the footers of all files, of tars with `keep` all `key.json`, are read when the
    plan is made. `bring` names columns of the dataset and for each image the one of the table that holds it:
    {depth: {from: {target: depth_after, source: depth_before}}}.
    """

    pairs: str
    target: str | None = None
    source: str | None = None
    image: str | None = None
    margin: int = 0
    target_side: Literal["left", "right"] = "right"
    panels: tuple[Box, Box] | None = None
    instruction: str | TextColumn | None = None
    subject: str | TextColumn | None = None
    target_caption: str | None = None
    source_caption: str | None = None
    licence: str | None = None
    attribution: str | None = None
    url: str | None = None
    keep: tuple[str, ...] = ()
    image_root: str | None = None
    bring: Mapping[str, Any] = field(default_factory=dict)

    name: ClassVar[str] = "pairs"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "pair"
    num_images: ClassVar[int] = 2
    roles: ClassVar[tuple[str, ...]] = ("target", "source")

    def __post_init__(self) -> None:
        named = [name for name in ("image", "target", "source") if getattr(self, name) is not None]
        if named not in (["image"], ["target", "source"]):
            raise ConfigError(
                f"pairs must name either image or both target and source, got {' and '.join(named) or 'none of them'}. "
                f"Name two columns of pictures, target: edited_img, source: src_img; or the one that holds both side "
                f"by side, image: image."
            )
        if (self.instruction is None) == (self.subject is None):
            raise ConfigError(
                f"pairs must name either instruction or subject, got "
                f"{'neither' if self.subject is None else 'both'}. Name the column that says how source becomes "
                f"target, instruction: edit_prompt; or the one that says what both show, subject: item."
            )
        if self.margin < 0:
            raise ConfigError(f"margin must be at least 0 pixels, got {self.margin}.")
        self._check_panels()
        if self.image is not None and self.bring:
            raise ConfigError(
                "bring must stand beside target and source, got it with image, whose pictures are cut apart. Leave it "
                "out, or store the two pictures in two columns."
            )
        if self.image is None and self.target == self.source:
            raise ConfigError(f"target and source must be two columns, got {self.target!r} twice.")

        if self._is_tars and self.image_root is not None:
            raise ConfigError("image_root must stand beside tables of paths, got it with tars. Leave it out.")

    def _check_panels(self) -> None:
        """Raise ConfigError for boxes that are none, and for what says where panels lie without panels, or twice."""
        is_cut = (self.margin, self.target_side) != (0, "right")
        if self.image is None and (is_cut or self.panels):
            raise ConfigError(
                "margin, target_side and panels must stand beside image, got them with target and source, whose "
                "pictures are whole. Leave them out."
            )
        if self.panels and is_cut:
            raise ConfigError(
                "panels must stand without margin and target_side, got both. The first box is the target's: leave the "
                "others out."
            )
        for x0, y0, x1, y1 in self.panels or ():
            if not (0 <= x0 < x1 and 0 <= y0 < y1):
                raise ConfigError(
                    f"panels must be boxes [x0, y0, x1, y1] of pixels, left before right and top before bottom, got "
                    f"{[x0, y0, x1, y1]}. Subjects200K has [528, 8, 1040, 520] and [8, 8, 520, 520]."
                )

    @property
    def _is_tars(self) -> bool:
        return self.pairs.lower().endswith(".tar")

    @cached_property
    def _table(self) -> Table | TarTable:
        options = {"image": self.image, "target": self.target, "source": self.source}
        pictures = {option: column for option, column in options.items() if column is not None}
        texts = {
            "target_caption": self.target_caption,
            "source_caption": self.source_caption,
            "licence": self.licence,
            "attribution": self.attribution,
        }
        named = {"instruction": text_column(self.instruction), "subject": text_column(self.subject)}
        phrases = {option: column.column if column else None for option, column in named.items()}
        picks = {option: column.pick for option, column in named.items() if column}
        if self._is_tars:
            return TarTable("source pairs", self.pairs, pictures, texts, phrases, picks, self.url, self.keep)
        return Table(
            option="source pairs",
            pattern=self.pairs,
            pictures=pictures,
            texts=texts,
            phrases=phrases,
            picks=picks,
            url=self.url,
            keep=self.keep,
            image_root=self.image_root,
        )

    def read(self, item: PlannedItem) -> SourceItem:
        """Return target and source of a pair, and what leads from one to the other or what both show.

        Raises SampleError source_gone, source_changed, source_unreadable, outside_root, no_target, no_source,
        no_image, no_instruction or no_subject; of tars also two_images, damaged_tar and bad_sidecar.
        """
        row = self._table.read(item)
        licence, attribution = row.text("licence"), row.text("attribution")
        target, source = (
            SourceImage(data, row.text(f"{role}_caption"), licence, attribution, panel)
            for role, (data, panel) in zip(("target", "source"), self._pictures(row), strict=True)
        )
        return SourceItem((target, source), row.phrase("instruction"), row.phrase("subject"))

    def _pictures(self, row: TableRow | TarRow) -> list[tuple[bytes, Panel | None]]:
        """Return the bytes of target and source, and which part of them is meant."""
        if self.image is None:
            return [(row.picture("target"), None), (row.picture("source"), None)]
        both, place = row.picture("image"), ["left", "right"].index(self.target_side)
        if self.panels:
            return [(both, Panel(index, 2, box=box)) for index, box in enumerate(self.panels)]
        return [(both, Panel(index, 2, self.margin)) for index in (place, 1 - place)]
