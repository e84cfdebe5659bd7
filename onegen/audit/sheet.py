"""Lay samples out on one contact sheet: a row for each sample, a column for each kind of annotation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from onegen.pixels.sizes import fit

MARGIN = 24
GAP = 16
TILE_WIDTH = 232
TILE_HEIGHTS = (110, 270)  # shortest and tallest picture; wide ones are centred, tall ones narrowed
LINE_LIMIT = 4  # lines of text under a picture
CARD_LIMIT = 24  # lines of text in place of one

_INK, _FAINT, _RULE, _CARD, _PAPER = "#1c1c1c", "#6b6b6b", "#e2e2e2", "#f4f4f4", "#ffffff"


@dataclass(frozen=True, slots=True)
class Tile:
    """One cell: a `picture`, RGB uint8 (H,W,3) or grey (H,W), the `label` of its column and `lines` below the picture.

    Without a picture the lines stand in its place: values such as scores, or the reason why there is none. A tab in a
    line there sends the rest to the right edge (`sharpness<tab>812`).
    """

    picture: np.ndarray | None
    label: str
    lines: tuple[str, ...] = ()


def contact_sheet(rows: Sequence[Sequence[Tile]], title: str) -> Image.Image:
    """Return the sheet as an RGB image on white: title, column headers, one row per sample.

    Tiles with one label stand in one column, whatever their place in a row; columns that have a picture in some row
    come first, in the order in which their labels appear. A picture keeps its aspect; columns have one width.
    """
    fonts = _Fonts(*(ImageFont.load_default(size) for size in (26, 15, 13)))
    cells = [_by_label(row) for row in rows]
    labels = list(dict.fromkeys(label for row in cells for label in row))
    pictured = [label for label in labels if any(label in row and row[label].picture is not None for row in cells)]
    columns = pictured + [label for label in labels if label not in pictured]
    width = _left(max(1, len(columns))) - GAP + MARGIN
    width = max(width, 2 * MARGIN + int(fonts.title.getlength(title)) + 1)
    heights = [_row_height(row, fonts) + GAP + 4 for row in rows]
    top = MARGIN + 46 + 30
    sheet = Image.new("RGB", (width, top + sum(heights) + MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, _INK, fonts.title)
    for index, (heading, _) in enumerate(columns):
        draw.text((_left(index), MARGIN + 46), heading, _INK, fonts.header)
    for row, height in zip(cells, heights, strict=True):
        draw.line((MARGIN, top, width - MARGIN, top), _RULE)
        for index, label in enumerate(columns):
            if label in row:
                _draw_tile(sheet, row[label], (_left(index), top + GAP // 2), fonts)
        top += height
    return sheet


@dataclass(frozen=True, slots=True)
class _Fonts:
    title: ImageFont.FreeTypeFont | ImageFont.ImageFont
    header: ImageFont.FreeTypeFont | ImageFont.ImageFont
    text: ImageFont.FreeTypeFont | ImageFont.ImageFont


_LINE_HEIGHT = 18
_Label = tuple[str, int]  # a label, and how often it stood in the row before


def _left(column: int) -> int:
    return MARGIN + column * (TILE_WIDTH + GAP)


def _by_label(row: Sequence[Tile]) -> dict[_Label, Tile]:
    cells: dict[_Label, Tile] = {}
    for tile in row:
        cells[tile.label, sum(label == tile.label for label, _ in cells)] = tile
    return cells


def _row_height(row: Sequence[Tile], fonts: _Fonts) -> int:
    """Return the pixels a row of tiles takes; one of text alone is as low as its lines."""
    least = TILE_HEIGHTS[0] if any(tile.picture is not None for tile in row) else 0
    return max([least, *(_height(tile, fonts) for tile in row)])


def _height(tile: Tile, fonts: _Fonts) -> int:
    """Return the pixels a tile takes, its lines included."""
    if tile.picture is None:
        return 20 + len(_wrapped(tile.lines, fonts, TILE_WIDTH - 24, CARD_LIMIT)) * _LINE_HEIGHT
    return _fitted(tile.picture)[1] + 6 + len(_wrapped(tile.lines, fonts, TILE_WIDTH, LINE_LIMIT)) * _LINE_HEIGHT


def _fitted(picture: np.ndarray) -> tuple[int, int]:
    """Return the (width, height) at which a picture is shown."""
    _, size = fit(picture.shape, TILE_HEIGHTS[1], TILE_WIDTH, enlarge=True)
    return size


def _draw_tile(sheet: Image.Image, tile: Tile, corner: tuple[int, int], fonts: _Fonts) -> None:
    draw = ImageDraw.Draw(sheet)
    left, top = corner
    if tile.picture is None:
        lines, ink = _wrapped(tile.lines, fonts, TILE_WIDTH - 24, CARD_LIMIT), _INK
        draw.rounded_rectangle((left, top, left + TILE_WIDTH - 1, top + 20 + len(lines) * _LINE_HEIGHT), 6, _CARD)
        left, top = left + 12, top + 10
    else:
        size = _fitted(tile.picture)
        # Small pictures are shown as the pixels they are.
        filter_ = Image.Resampling.NEAREST if size[0] > 2 * tile.picture.shape[1] else Image.Resampling.LANCZOS
        shown = Image.fromarray(np.ascontiguousarray(tile.picture)).convert("RGB").resize(size, filter_)
        sheet.paste(shown, (left + (TILE_WIDTH - size[0]) // 2, top))
        top, lines, ink = top + size[1] + 6, _wrapped(tile.lines, fonts, TILE_WIDTH, LINE_LIMIT), _FAINT
    for index, line in enumerate(lines):
        name, _, value = line.partition("\t")
        draw.text((left, top + index * _LINE_HEIGHT), name, ink, fonts.text)
        if value:
            right = left + TILE_WIDTH - 24
            draw.text((right, top + index * _LINE_HEIGHT), value, ink, fonts.text, anchor="ra")


def _wrapped(lines: Sequence[str], fonts: _Fonts, width: int, limit: int) -> list[str]:
    """Return the lines broken at spaces so that each fits `width` pixels; what exceeds `limit` lines ends in dots."""
    broken: list[str] = []
    for line in lines:
        if "\t" in line:
            broken.append(line)
            continue
        current = ""
        for word in "".join(c if c.isprintable() else " " for c in line[:600]).split():
            longer = f"{current} {word}".strip()
            if current and fonts.text.getlength(longer) > width:
                broken.append(current)
                current = word
            else:
                current = longer
        broken.append(current)
    if len(broken) > limit:
        broken = [*broken[: limit - 1], f"{broken[limit - 1]} ..."]
    return [_cut(line, fonts, width) for line in broken]


def _cut(line: str, fonts: _Fonts, width: int) -> str:
    if fonts.text.getlength(line) <= width:
        return line
    line = line[:width]  # no letter is narrower than a pixel
    while line and fonts.text.getlength(f"{line}...") > width:
        line = line[:-1]
    return f"{line}..."
