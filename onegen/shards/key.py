"""Keys: a sample is named by its content. DESIGN section 4, rule 3.

A single image is named by its original bytes; several of them by their kind, the images in their order, and the words
that make another sample of the same images.
"""

import hashlib
from collections.abc import Sequence

from onegen.sample import Kind, SourceImage
from onegen.shards.canonical import canonical

DIGITS = 20


def member_digest(image: SourceImage) -> str:
    """Return the digest of one image: SHA-256 of its original bytes; of a panel also of its place in them."""
    digest = hashlib.sha256(image.data)
    if image.panel is not None:
        digest.update(canonical([image.panel.index, image.panel.count, image.panel.margin]))
    return digest.hexdigest()


def sample_key(kind: Kind, members: Sequence[str], instruction: str | None = None, subject: str | None = None) -> str:
    """Return the key of a sample: `members` are its images' digests in order; a pair has an instruction or a subject.

    The key of kind image is the first 20 hex digits of its image's own digest.
    """
    if kind == "image":
        return members[0][:DIGITS]
    # The fourth place is that of a scene's cameras.
    return hashlib.sha256(canonical([kind, list(members), instruction or subject, None])).hexdigest()[:DIGITS]
