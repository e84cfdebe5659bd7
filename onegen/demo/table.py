"""What both tables of pairs need: a demo photo with its caption and rights, image columns, and the file they become."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from onegen.errors import ConfigError
from onegen.storage.whole import whole

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""An image as HF `datasets` writes it."""


@dataclass(frozen=True, slots=True)
class DemoPhoto:
    """A demo photo: file name, original bytes, RGB uint8 (H,W,3), caption, licence, whom to thank, and its package."""

    name: str
    data: bytes
    pixels: np.ndarray
    caption: str
    licence: str
    attribution: str
    origin: str


def read_photo(folder: Path, name: str) -> DemoPhoto:
    """Return a demo photo with its two sidecar files; raises ConfigError where one is missing."""
    path = folder / name
    try:
        data = path.read_bytes()
        caption = path.with_suffix(".txt").read_text(encoding="utf-8").strip()
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"demo photo {error.filename} must be there. Write it with: python -m onegen.demo.photos {folder}"
        ) from error
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert("RGB"))
    return DemoPhoto(name, data, pixels, caption, about["licence"], about["attribution"], about["source"])


def png(pixels: np.ndarray) -> bytes:
    """Return RGB uint8 (H,W,3) as the bytes of a PNG."""
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def place(path: Path, table: pa.Table) -> None:
    """Write a table whole or not at all, unless it is there already: a new modification time would be a new source.

    Raises ConfigError where the file holds something else.
    """
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=16)
    data = sink.getvalue()
    if path.exists():
        if path.read_bytes() != data:
            raise ConfigError(
                f"table {path} must be the one this version writes, got other bytes. Move it away or name another "
                f"folder."
            )
        return
    with whole(path) as part:
        part.write_bytes(data)
