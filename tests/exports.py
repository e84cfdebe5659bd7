"""Tables and tars of small pictures, as hubs and crawlers leave them; no test reads a real one.

The columns of OmniEdit, InstructPix2Pix and Subjects200K are those their cards describe.
"""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.pictures import encode, jpeg, png, smooth


def table_bytes(columns: Mapping[str, Sequence[Any]], rows_per_group: int = 3, **types: pa.DataType) -> bytes:
    """Return columns as the bytes of a Parquet file; `types` replace those pyarrow would choose."""
    arrays = {name: pa.array(values, types.get(name)) for name, values in columns.items()}
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays), sink, row_group_size=rows_per_group)
    return sink.getvalue()


def tar_bytes(members: Iterable[tuple[str, bytes]], **options: Any) -> bytes:
    """Return (name, bytes) pairs as the bytes of a tar; a name may come twice."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", **options) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def write_downloads(folder: Path, tars: int = 3, each: int = 6) -> dict[str, str]:
    """Write what img2dataset leaves, every third picture of it a failed download; return item to status."""
    folder.mkdir(parents=True, exist_ok=True)
    statuses: dict[str, str] = {}
    for tar in range(tars):
        rows, members = _downloads(tar, each), []
        for number, row in enumerate(rows):
            key, failed = row["key"], row["status"] != "success"
            statuses[f"{tar:05d}.tar#{key}"] = str(row["status"])
            if not failed:
                members.append((f"{key}.jpg", jpeg(100 * tar + number)))
                members.append((f"{key}.json", json.dumps(row, indent=4).encode()))
                members.append((f"{key}.txt", str(row["caption"]).encode()))
        (folder / f"{tar:05d}.tar").write_bytes(tar_bytes(members))
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{tar:05d}.parquet")
        (folder / f"{tar:05d}_stats.json").write_text(json.dumps({"count": each}), encoding="utf-8")
    return statuses


def write_download_tables(folder: Path, shards: int = 2) -> list[str]:
    """Write what img2dataset leaves with the pictures in its tables; return the status of each row."""
    statuses: list[str] = []
    for shard in range(shards):
        rows = _downloads(shard, 6)
        pictures = [jpeg(100 * shard + n) if row["status"] == "success" else None for n, row in enumerate(rows)]
        statuses += [str(row["status"]) for row in rows]
        folder.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist(rows).append_column("jpg", pa.array(pictures, pa.binary()))
        pq.write_table(table, folder / f"{shard:05d}.parquet")
    return statuses


def write_download_files(folder: Path, shards: int = 2) -> dict[str, str]:
    """Write what img2dataset leaves as files in a folder a shard; return item to status."""
    statuses: dict[str, str] = {}
    for shard in range(shards):
        rows, pictures = _downloads(shard, 6), folder / f"{shard:05d}"
        pictures.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{shard:05d}.parquet")
        for number, row in enumerate(rows):
            stem = f"{shard:05d}/{row['key']}"
            if row["status"] == "success":
                (pictures / f"{row['key']}.jpg").write_bytes(jpeg(100 * shard + number))
                (pictures / f"{row['key']}.txt").write_text(str(row["caption"]), encoding="utf-8")
                (pictures / f"{row['key']}.json").write_text(json.dumps(row, indent=4), encoding="utf-8")
                statuses[f"{stem}.jpg"] = "success"
            else:
                statuses[stem] = str(row["status"])
    return statuses


def _downloads(shard: int, each: int) -> list[dict[str, Any]]:
    """Return the rows of a table of img2dataset, every third a failed download."""
    rows = []
    for number in range(each):
        key, failed = f"{shard:05d}{number:04d}", number % 3 == 2
        row = {
            "url": f"https://pictures.example/{key}.jpg",
            "caption": f"picture {key}",
            "key": key,
            "status": "failed_to_download" if failed else "success",
            "error_message": "HTTP Error 404: Not Found" if failed else None,
            "width": None if failed else 48,
            "height": None if failed else 32,
            "original_width": None if failed else 480,
            "original_height": None if failed else 320,
            "exif": None if failed else "{}",
            "sha256": None if failed else "0" * 64,
            "similarity": 0.1 * number,
        }
        rows.append(row)
    return rows


OMNIEDIT = {
    "target": "edited_img",
    "source": "src_img",
    "instruction": "edited_prompt_list",
    "keep": ["task", "o_score"],
}
INSTRUCT_PIX2PIX = {"target": "edited_image", "source": "input_image", "instruction": "edit_prompt"}
SUBJECTS200K = {
    "image": "image",
    "margin": 8,
    "subject": "description.item",
    "source_caption": "description.description_0",
    "target_caption": "description.description_1",
    "keep": ["collection", "quality_assessment"],
}
"""How a recipe maps each of the tables below, but for its place."""


def omniedit_rows(count: int) -> list[dict[str, Any]]:
    """Return edits as OmniEdit has them: source pictures are jpeg(n), targets jpeg(1000 + n)."""
    return [
        {
            "omni_edit_id": f"task_obj_add_{n}",
            "task": ("removal", "addition", "style")[n % 3],
            "src_img": {"bytes": jpeg(n), "path": None},
            "edited_img": {"bytes": jpeg(1000 + n), "path": None},
            "edited_prompt_list": [f"Remove thing {n}.", f"Take thing {n} away."],
            "width": 48,
            "height": 32,
            "sc_score_1": n % 11,
            "o_score": (n % 11) * 0.9,
        }
        for n in range(count)
    ]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], rows_per_group: int = 3, **types: pa.DataType) -> Path:
    """Write rows as a Parquet file; `types` replace those pyarrow would choose."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(table_bytes({name: [row[name] for row in rows] for name in rows[0]}, rows_per_group, **types))
    return path


def instruct_pix2pix_rows(count: int) -> list[dict[str, Any]]:
    """Return edits as InstructPix2Pix has them: inputs are png(n), edited pictures png(1000 + n)."""
    return [
        {
            "input_image": {"bytes": png(n), "path": None},
            "edit_prompt": f"make it number {n}",
            "edited_image": {"bytes": png(1000 + n), "path": f"{n}.png"},
        }
        for n in range(count)
    ]


def subjects200k_rows(count: int, size: int = 32, margin: int = 8) -> list[dict[str, Any]]:
    """Return pairs as Subjects200K has them: smooth(n) on the left, smooth(1000 + n) on the right, in grey margins."""
    return [
        {
            "image": {"bytes": encode(composite(smooth(n, size, size), smooth(1000 + n, size, size), margin), "PNG")},
            "collection": "collection_2",
            "quality_assessment": None
            if n % 4 == 3
            else {"compositeStructure": 5, "objectConsistency": n % 6, "imageQuality": 4},
            "description": {
                "item": f"Thing {n}",
                "description_0": f"left {n}",
                "description_1": f"right {n}",
                "category": "Other",
                "description_valid": True,
            },
        }
        for n in range(count)
    ]


def composite(left: np.ndarray, right: np.ndarray, margin: int) -> np.ndarray:
    """Return two pictures of one size side by side, each in a grey margin."""
    tiles = [np.pad(one, ((margin, margin), (margin, margin), (0, 0)), constant_values=128) for one in (left, right)]
    return np.concatenate(tiles, axis=1)
