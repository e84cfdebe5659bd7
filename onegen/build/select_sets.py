"""Select for sets (identities, scenes): each image of each sample judged by the rules, out of core.

Rules take single images out: those of the recipe, and within a subject what repeats an earlier picture. A photo that
stands with two subjects is nobody's: it is taken from both. A whole set that repeats another is left out.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from onegen.config.recipe import SelectConfig
from onegen.pixels.phash import FLAT
from onegen.sample import IMAGE, Kind
from onegen.shards.dataset import Dataset
from onegen.shards.index import Row
from onegen.shards.views import values_of
from onegen.shards.where import Scope, columns_in, evaluate_images
from onegen.storage.spill import Spill, batched

DUPLICATE, NEAR_DUPLICATE, SHARED = "duplicate", "near_duplicate", "shared"
"""Why an image is taken out: its subject has the same bytes already, or one that looks alike; or another subject has
it."""
_IMAGES = pa.schema(
    [
        ("ordinal", pa.int64()),
        ("shard", pa.int32()),
        ("position", pa.int32()),
        ("key", pa.string()),
        ("subject", pa.string()),
        ("image", pa.int32()),
        ("digest", pa.string()),
        ("reason", pa.string()),
    ]
)
_VERDICTS = f"""
WITH first AS (SELECT key, min(ordinal) AS kept FROM images GROUP BY key),
held AS (SELECT images.* FROM images JOIN first USING (key) WHERE ordinal = kept),
shared AS (
    SELECT digest FROM held WHERE reason IS NULL AND subject IS NOT NULL
    GROUP BY digest HAVING count(DISTINCT subject) > 1)
SELECT ordinal, shard, position, image,
       coalesce(reason, CASE WHEN digest IN (SELECT digest FROM shared) THEN '{SHARED}' END) AS reason,
       CASE WHEN ordinal <> kept THEN key END AS duplicate_of
FROM images JOIN first USING (key)
WHERE reason IS NOT NULL OR ordinal <> kept OR digest IN (SELECT digest FROM shared)
ORDER BY ordinal, image
"""


@dataclass(slots=True)
class SetVerdict:
    """Which images a set loses, and why, by number; `duplicate_of` is the key of the set it repeats as a whole."""

    lost: dict[int, str] = field(default_factory=dict)
    duplicate_of: str | None = None


def set_verdicts(
    dataset: Dataset, kind: Kind, config: SelectConfig, scope: Scope, is_whole: bool
) -> Iterator[tuple[int, dict[int, SetVerdict], int]]:
    """Yield of each shard in order the verdicts by position, and over how many rows a rule was in error.

    Sets without a verdict stay as they are. `is_whole` asks that no photo be shared without the other set's loss.
    """
    errors: dict[int, int] = defaultdict(int)
    with Spill() as spill:
        spill.store("images", _IMAGES, batched(_images(dataset, kind, config, scope, errors), _IMAGES))
        rows = (row for batch in spill.query(_VERDICTS) for row in batch.to_pylist())
        pending = next(rows, None)
        for shard in dataset.shards(IMAGE):
            verdicts: dict[int, SetVerdict] = defaultdict(SetVerdict)
            while pending is not None and pending["shard"] == shard:
                verdict = verdicts[pending["position"]]
                if pending["reason"] is not None:
                    verdict.lost[pending["image"]] = pending["reason"]
                verdict.duplicate_of = pending["duplicate_of"]
                pending = next(rows, None)
            yield shard, dict(verdicts), errors[shard]


def _images(
    dataset: Dataset, kind: Kind, config: SelectConfig, scope: Scope, errors: dict[int, int]
) -> Iterator[tuple[Any, ...]]:
    """Yield every stored image in plan order, with the first reason to take it out, as rows of `_IMAGES`."""
    ordinal = -1
    distance = config.near_duplicates.distance if config.near_duplicates else None
    seen = _Seen(None, distance)
    for shard in dataset.shards(IMAGE):
        rows = dataset.rows(dataset.require_manifest(IMAGE, shard))
        broken = _broken_rules(dataset, config, scope, shard, errors)
        for row in rows:
            if row.status != "ok":
                continue
            ordinal += 1
            subject = row.values.get("subject")
            if subject is None or seen.subject != subject:
                seen = _Seen(subject, distance)
            for image, digest in enumerate(row.values["members"]):
                reason = broken.get((row.position, image))
                if reason is None and kind == "identity":
                    reason = seen.repeats(row, image, digest)
                yield ordinal, shard, row.position, row.key, subject, image, digest, reason


@dataclass(slots=True)
class _Seen:
    """The pictures of one subject so far, those that stay; its parts follow one another in the plan."""

    subject: str | None
    distance: int | None
    digests: set[str] = field(default_factory=set)
    hashes: list[int] = field(default_factory=list)

    def repeats(self, row: Row, image: int, digest: str) -> str | None:
        """Return why an image is a repetition; None for a new one, which is kept in mind."""
        if digest in self.digests:
            return DUPLICATE
        phash = values_of(row, image)["phash"]
        if self.distance is not None and phash not in FLAT:
            if any((phash ^ other).bit_count() <= self.distance for other in self.hashes):
                return NEAR_DUPLICATE
            self.hashes.append(phash)
        self.digests.add(digest)
        return None


def _broken_rules(
    dataset: Dataset, config: SelectConfig, scope: Scope, shard: int, errors: dict[int, int]
) -> Mapping[tuple[int, int], str]:
    """Return, by position and image, the first rule that is not true; `errors` counts rows a rule is in error over."""
    broken: dict[tuple[int, int], str] = {}
    for name, expression in config.keep.items():
        named = {column: scope[column] for column in columns_in(expression, scope)}
        # The image column says how many images there are, whatever else a rule names.
        columns = {IMAGE: scope[IMAGE], **named}
        rows = {column: dataset.rows(dataset.require_manifest(column, shard)) for column in columns}
        answers = evaluate_images(expression, rows, columns)
        errors[shard] += sum(None in images for images in answers)
        for position, images in enumerate(answers):
            for image, is_kept in enumerate(images):
                if not is_kept:
                    broken.setdefault((position, image), f"rule:{name}")
    return broken
