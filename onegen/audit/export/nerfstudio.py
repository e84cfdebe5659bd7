"""Scenes as nerfstudio, instant-ngp and the source `captures` read them: a folder a scene with `transforms.json`.

SPLIT/KEY/transforms.json, images/view00.jpg ... as stored, caption.txt and LICENSE where they are known. Cameras are
exact: focal lengths in pixels of the stored image, OpenGL axes. Annotations are not in it.
"""

import json
from pathlib import Path
from typing import Any

from onegen.audit.export.formats import Format, Handed, Wishes, split_of
from onegen.audit.export.samples import Picture, Sample, Samples
from onegen.errors import ConfigError
from onegen.geometry.cameras import from_record
from onegen.geometry.nerfstudio import to_nerfstudio

_SIZE = ("w", "h", "cx", "cy")


def write(samples: Samples, out: Path, wishes: Wishes) -> Handed:
    """Write a folder for each scene; raises ConfigError for a dataset of another kind."""
    if samples.card.kind != "scene":
        raise ConfigError(
            f"{samples.dataset.store.url} must hold scenes for this format, got samples of kind {samples.card.kind}. "
            f"Choose another, such as --to huggingface."
        )
    handed = Handed()
    for sample in samples:
        split = split_of(sample.key, wishes.validation, sample.pictures[0].facts)
        _write_scene(sample, out / split / sample.key)
        handed.samples += 1
        handed.images += len(sample.pictures)
        handed.count(split)
    return handed


def _write_scene(sample: Sample, folder: Path) -> None:
    (folder / "images").mkdir(parents=True)
    frames = []
    for picture in sample.pictures:
        path = f"images/{picture.name.removeprefix(f'{sample.key}.')}"
        (folder / path).write_bytes(picture.image())
        frames.append(_frame(picture, path))
    text = json.dumps(_document(frames), indent=1) + "\n"
    (folder / "transforms.json").write_text(text, encoding="utf-8")
    facts = sample.pictures[0].facts
    if facts.get("caption"):
        (folder / "caption.txt").write_text(f"{facts['caption']}\n", encoding="utf-8")
    if facts.get("licence"):
        lines = filter(None, (facts["licence"], facts.get("attribution")))
        (folder / "LICENSE").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _frame(picture: Picture, path: str) -> dict[str, Any]:
    facts = picture.facts
    document = to_nerfstudio({path: from_record(facts["camera"])}, facts["width"], facts["height"])
    return {**document["frames"][0], **{name: document[name] for name in _SIZE}}


def _document(frames: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the document of frames; a size that all of them have is said once, as most readers expect it."""
    shared = {name: frames[0][name] for name in _SIZE}
    if any(frame[name] != shared[name] for frame in frames for name in _SIZE):
        return {"camera_model": "OPENCV", "frames": frames}
    own = [{name: value for name, value in frame.items() if name not in _SIZE} for frame in frames]
    return {"camera_model": "OPENCV", **shared, "frames": own}


FORMAT = Format(
    "nerfstudio",
    "a folder a scene: transforms.json, the stored pictures, caption and licence",
    write,
    'ns-train nerfacto --data "{out}/train/KEY", or onegen\'s source captures: {out}',
)
