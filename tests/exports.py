"""Tables and tars of small pictures, as hubs and crawlers leave them; no test reads a real one."""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.pictures import jpeg


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
        rows, members = [], []
        for number in range(each):
            key = f"{tar:05d}{number:04d}"
            failed = number % 3 == 2
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
            statuses[f"{tar:05d}.tar#{key}"] = str(row["status"])
            if not failed:
                members.append((f"{key}.jpg", jpeg(100 * tar + number)))
                members.append((f"{key}.json", json.dumps(row, indent=4).encode()))
                members.append((f"{key}.txt", str(row["caption"]).encode()))
        (folder / f"{tar:05d}.tar").write_bytes(tar_bytes(members))
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{tar:05d}.parquet")
        (folder / f"{tar:05d}_stats.json").write_text(json.dumps({"count": each}), encoding="utf-8")
    return statuses
