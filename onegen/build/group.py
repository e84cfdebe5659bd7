"""Group the faces of a dataset of images by who they are, into the table that the source `identities` reads.

    onegen group DATASET people.parquet

Faces nearer than a distance are linked; what is linked is clustered by complete linkage, so that any two faces of a
subject are nearer than that. Chains of faces, each like the next, make no one subject. Subjects come in the order of
their first picture, pictures in that of the plan.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from onegen.errors import ConfigError
from onegen.sample import IMAGE, SELECT
from onegen.shards.column import ColumnReader
from onegen.shards.dataset import Dataset
from onegen.shards.index import Row
from onegen.shards.takedowns import read_takedowns, taken_positions
from onegen.storage.whole import whole

DISTANCES: Mapping[str, float] = {"faces": 0.6, "arcface": 1.1}
"""Distance below which two faces are taken for one person, by what made the column: dlib's own threshold; and SFace's,
whose unit vectors lie nearer than 1.13 at a cosine above 0.363."""
MOST_LINKED = 20_000
"""Faces that may hang together by links before they are clustered: their distances take 1.6 GB."""
SCHEMA = pa.schema(
    [
        ("subject", pa.string()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("caption", pa.string()),
        ("licence", pa.string()),
        ("attribution", pa.string()),
        ("key", pa.string()),
        ("source", pa.string()),
    ]
)
"""One picture a row; `key` is that of the dataset of images, `source` the file it was made from."""
_BLOCK, _ROW_GROUP = 1024, 32


@dataclass(frozen=True)
class Grouping:
    """How a grouping ended: pictures left out by reason, and the pictures of each subject in order."""

    left_out: Mapping[str, int]
    sizes: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Face:
    """The one face of a picture: where the picture stands, and who it is."""

    shard: int
    position: int
    identity: np.ndarray = field(repr=False)


def group(
    dataset: Dataset,
    out: Path,
    column: str = "faces",
    distance: float | None = None,
    min_images: int = 4,
    min_face: int = 64,
) -> Grouping:
    """Write pictures with one face, grouped by whom it shows, and return how many.

    A face must be `min_face` pixels high, a subject have `min_images` pictures. Raises ConfigError for a dataset of
    another kind, without such a column, or of which nothing is left.
    """
    card = dataset.require_card()
    if card.kind != "image":
        raise ConfigError(f"group must be given a dataset of kind image, got {card.kind} in {dataset.store.url}.")
    if column not in dataset.columns():
        raise ConfigError(
            f"{dataset.store.url} must have the column {column!r}, and has {', '.join(dataset.columns())}. Add the "
            f"annotator faces to its recipe and build again, or name the column with --column."
        )
    left_out: Counter[str] = Counter()
    faces: list[_Face] = []
    makers: set[str] = set()
    for shard in dataset.shards(column):
        makers.add(dataset.require_manifest(column, shard).producer.name)
        faces += _faces(dataset, column, shard, min_face, left_out)
    limit = distance if distance is not None else _distance(makers, column)
    clusters = cluster(np.array([face.identity for face in faces], np.float32), limit) if faces else []
    kept = [[faces[index] for index in members] for members in clusters if len(members) >= min_images]
    left_out["subject with fewer pictures"] += len(faces) - sum(map(len, kept))
    if not kept:
        raise ConfigError(
            f"{dataset.store.url} must show someone in {min_images} pictures, and of {len(faces)} with one face none "
            f"are alike so often. Lower --min-images, or raise --distance."
        )
    _write(dataset, out, kept)
    return Grouping({reason: count for reason, count in left_out.items() if count}, [len(members) for members in kept])


def cluster(identities: np.ndarray, distance: float) -> list[list[int]]:
    """Return clusters of the rows of float32 (N,D), any two of one cluster nearer than `distance` (Euclidean).

    Members are in order, clusters in that of their first. Raises ConfigError where too many hang together.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial.distance import pdist

    count, labels = connected_components(_links(identities, distance), directed=False)
    linked: list[list[int]] = [[] for _ in range(count)]
    for index, label in enumerate(labels):
        linked[label].append(index)
    clusters: list[list[int]] = []
    for members in linked:
        if len(members) > MOST_LINKED:
            raise ConfigError(
                f"faces that hang together must be at most {MOST_LINKED:,}, got {len(members):,} at distance "
                f"{distance}. Lower --distance."
            )
        if len(members) == 1:
            clusters.append(members)
            continue
        tree = linkage(pdist(identities[members].astype(np.float64)), "complete")
        of_cluster: dict[int, list[int]] = {}
        for index, number in zip(members, fcluster(tree, distance, "distance"), strict=True):
            of_cluster.setdefault(int(number), []).append(index)
        clusters += of_cluster.values()
    return sorted(clusters, key=lambda members: members[0])


def _links(identities: np.ndarray, distance: float) -> Any:
    """Return which faces are nearer than a distance, as a sparse matrix; found block by block."""
    from scipy.sparse import coo_matrix

    squares = (identities**2).sum(axis=1)
    firsts, seconds = [], []
    for start in range(0, len(identities), _BLOCK):
        block = identities[start : start + _BLOCK]
        apart = squares[start : start + _BLOCK, None] + squares[None, :] - 2 * block @ identities.T
        first, second = np.nonzero(apart < distance**2)
        firsts.append(first + start)
        seconds.append(second)
    rows, columns = np.concatenate(firsts), np.concatenate(seconds)
    return coo_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(len(identities),) * 2)


def _distance(makers: set[str], column: str) -> float:
    known = {DISTANCES[maker] for maker in makers if maker in DISTANCES}
    if len(known) != 1 or makers - set(DISTANCES):
        raise ConfigError(
            f"--distance must be given for faces of {', '.join(sorted(makers))}, column {column!r}: below it two faces "
            f"are taken for one person."
        )
    return known.pop()


def _faces(dataset: Dataset, column: str, shard: int, least: int, left_out: Counter[str]) -> Iterator[_Face]:
    """Yield the pictures of a shard with one face that is large enough; the others are counted by reason."""
    images = dataset.rows(dataset.require_manifest(IMAGE, shard))
    chosen = dataset.manifest(SELECT, shard)
    select: Sequence[Row] = dataset.rows(chosen) if chosen is not None else images
    taken = taken_positions(dataset, read_takedowns(dataset.store), dataset.require_manifest(IMAGE, shard))
    for image, said, row in zip(images, select, dataset.rows(dataset.require_manifest(column, shard)), strict=True):
        if image.position in taken:
            left_out["taken down"] += 1
            continue
        if image.status != "ok" or said.status != "ok" or row.status != "ok":
            left_out["not selected, or without an answer"] += 1
            continue
        faces = row.values.get("faces")
        if faces is None:
            raise ConfigError(f"column {column!r} must hold faces, got {', '.join(row.values)}. Name another.")
        if len(faces) != 1:
            left_out["several faces" if faces else "no face"] += 1
        elif faces[0]["y1"] - faces[0]["y0"] < least:
            left_out[f"face below {least} pixels"] += 1
        else:
            yield _Face(shard, image.position, np.asarray(faces[0]["identity"], np.float32))


def _write(dataset: Dataset, out: Path, subjects: Sequence[Sequence[_Face]]) -> None:
    """Write the table, subject after subject; only a few pictures are held at a time."""
    digits = max(4, len(str(len(subjects))))
    with contextlib.ExitStack() as stack:
        readers: dict[int, ColumnReader] = {}
        part = stack.enter_context(whole(out))
        writer = stack.enter_context(pq.ParquetWriter(part, SCHEMA, compression="none"))
        rows: list[dict[str, Any]] = []
        for number, members in enumerate(subjects, 1):
            for face in members:
                if face.shard not in readers:
                    reader = ColumnReader(dataset, dataset.require_manifest(IMAGE, face.shard))
                    readers[face.shard] = reader
                    stack.callback(reader.close)
                rows.append(_record(readers[face.shard], face.position, f"subject-{number:0{digits}d}"))
                if len(rows) == _ROW_GROUP:
                    writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
                    rows = []
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA))


def _record(reader: ColumnReader, position: int, subject: str) -> dict[str, Any]:
    row = reader.rows[position]
    (member,) = row.parts
    picture = {"bytes": reader.part(member), "path": f"{row.key}.{member.name}"}
    facts = {name: row.values[name] for name in ("caption", "licence", "attribution")}
    return {"subject": subject, "image": picture, **facts, "key": row.key, "source": row.values["uri"]}
