"""Keys: a sample is named by its content, and what is drawn for it is seeded by its key. docs/contract.md, rule 3.

A single image is named by its original bytes; several of them by their kind, the images in their order, and what makes
another sample of the same images: words, or cameras.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from onegen.sample import Kind, SourceImage
from onegen.shards.canonical import canonical

DIGITS = 20
SEED_RULE = (
    "first 8 bytes, big endian, of SHA-256 over the canonical JSON of [key, name, version]; "
    "name and version are those of the annotator or of the drawn condition"
)
"""What `seed_of` does, as manifests say it."""


def member_digest(image: SourceImage) -> str:
    """Return the digest of one image: SHA-256 of its original bytes; also of a panel's place in them, and of a lens."""
    digest = hashlib.sha256(image.data)
    if image.panel is not None:
        panel = image.panel
        place = [panel.index, panel.count, panel.margin] if panel.box is None else ["box", *panel.box]
        digest.update(canonical(place))
    if image.lens is not None:
        digest.update(canonical(dict(image.lens)))
    return digest.hexdigest()


def sample_key(
    kind: Kind,
    members: Sequence[str],
    instruction: str | None = None,
    subject: str | None = None,
    cameras: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """Return the key of a sample: `members` are its images' digests in order, `cameras` are those of a scene.

    A pair has an instruction or a subject, an identity a subject. The key of kind image is the first 20 hex digits of
    its image's own digest.
    """
    if kind == "image":
        return members[0][:DIGITS]
    content = [kind, list(members), instruction or subject, [dict(camera) for camera in cameras] if cameras else None]
    return hashlib.sha256(canonical(content)).hexdigest()[:DIGITS]


def seed_of(key: str, name: str, version: int) -> int:
    """Return the seed, of 64 bits, with which `name` draws for a sample: see SEED_RULE.

    `name` and `version` are those of the annotator, or of the drawn condition, so that no two draw alike.
    """
    return int.from_bytes(hashlib.sha256(canonical([key, name, version])).digest()[:8], "big")
