"""What stands beside a picture in a folder: captions, JSON, what is brought, its licence, and what is passed over."""

import os
import re
import unicodedata
from collections.abc import Mapping

from onegen.shards.plan import PlannedFile
from onegen.sources.reading.sidecar import sidecar_facts, sidecar_text

_TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_UNREAD = (
    ".arw", ".bpg", ".cr2", ".cr3", ".dng", ".eps", ".exr", ".hdr", ".heic", ".heif", ".ico", ".jxl", ".jxr", ".nef",
    ".orf", ".pcx", ".pdf", ".psd", ".raf", ".raw", ".rw2", ".svg", ".wmf",
)  # fmt: skip
"""How pictures may be called that cannot be opened."""
SIDECARS = (".txt", ".caption", ".json")
_LICENCE = re.compile(r"licen[cs]e(\.txt|\.md)?", re.IGNORECASE)


def is_licence(path: str) -> bool:
    """Say whether a file holds the licence of its folder and those below."""
    return _LICENCE.fullmatch(os.path.basename(path)) is not None


def nearest_licence(licences: Mapping[str, PlannedFile], path: str) -> PlannedFile | None:
    """Return the licence of the nearest folder that has one, by folder, for a file below; None where there is none."""
    folder = os.path.dirname(path)
    while folder not in licences and folder:
        folder = os.path.dirname(folder)
    return licences.get(folder)


def stated_facts(uri: str, data: bytes) -> dict[str, str]:
    """Return the caption, licence and attribution that a file beside an image states, as far as it does.

    Raises SampleError bad_sidecar where it is no text, or its JSON no object whose facts are text.
    """
    if is_json(uri):
        return sidecar_facts(uri, data)
    text = sidecar_text(uri, data)
    if is_licence(uri):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return dict(zip(("licence", "attribution"), lines, strict=False))
    return {"caption": text.strip()} if text.strip() else {}


def suffixes_of(image: str, beside: str) -> tuple[str, ...]:
    """Return how a file beside an image goes on from the image's name, without and with its suffix, in lower case."""
    names = (os.path.splitext(image)[0], image)
    plain = [unicodedata.normalize("NFC", name) for name in (beside, *names)]
    return tuple(plain[0][len(name) + 1 :].lower() for name in plain[1:] if plain[0].startswith(f"{name}."))


def is_json(path: str) -> bool:
    """Say whether a file is called like JSON."""
    return path.lower().endswith(".json")


def why_passed_over(path: str) -> str:
    """Return why a file is none of what a folder's samples are made of."""
    name = os.path.basename(path).lower()
    if name in _TABLES:
        return f"{name} is not read: captions stand in a file beside each image, or use the source parquet"
    extension = os.path.splitext(name)[1]
    if extension in _UNREAD:
        return f"{extension} cannot be opened: convert them to JPEG, PNG or WebP"
    return "their names do not end like those of images"
