"""Drawn conditions as parts of the packed view, for trainers that do not draw themselves: `pack: {render: [pose]}`.

Columns hold annotations, and conditions are drawn from them when a training example is made; here they are drawn once,
by the same functions, and stored: on black as PNG, degraded photos as JPEG. docs/contract.md.
"""

from collections.abc import Mapping, Sequence

from onegen.pixels.codec import decode_image, encode_picture
from onegen.sample import IMAGE, Annotation, Kind, Provides
from onegen.shards.column import ColumnReader
from onegen.shards.index import Row
from onegen.shards.key import seed_of
from onegen.shards.views import dropped, part_name
from onegen.tasks.conditions import CONDITIONS, VERSION, condition


def needed_columns(render: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that these conditions are drawn from, in order."""
    return tuple(dict.fromkeys(column for name in render for column in CONDITIONS[name].columns))


def drawn_name(name: str) -> str:
    """Return the part a drawn condition is stored as."""
    return f"{name}.{CONDITIONS[name].extension}"


def draw(
    render: Sequence[str],
    readers: Mapping[str, ColumnReader],
    rows: Mapping[str, Row],
    provides: Mapping[str, Provides],
    kept: Sequence[int],
    kind: Kind = "pair",
) -> dict[str, bytes]:
    """Return what can be drawn of every image of a sample whose columns are ok, as parts.

    `readers` and `rows` are of `image` and of the needed columns, `provides` says how those store their parts. Where
    degradations fall is drawn from the sample's key, for each condition by itself. `kept` are the images that are
    packed, and are numbered anew. Raises SampleError unreadable_image
    or too_large_for_jpeg.
    """
    image = rows[IMAGE]
    parts: dict[str, bytes] = {}
    ready = [name for name in render if all(rows[column].status == "ok" for column in CONDITIONS[name].columns)]
    for place, index in enumerate(kept if ready else ()):
        pixels = decode_image(readers[IMAGE].part(image.parts[index]))
        annotations: dict[str, Annotation] = {
            column: readers[column].annotation(rows[column], index, provides[column])
            for column in needed_columns(ready)
        }
        for name in ready:
            if any(entry["image"] == index for column in CONDITIONS[name].columns for entry in dropped(rows[column])):
                continue
            drawn = condition(name, pixels, annotations, seed_of(str(image.key), name, VERSION))
            parts[part_name(place, drawn_name(name), kind)] = encode_picture(drawn, CONDITIONS[name].extension)
    return parts
