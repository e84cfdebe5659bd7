"""Run benchmarks and print one table each: `python -m benchmarks [NAME ...] [--results FILE]`.

With `--results` every row is also appended to a file of JSON lines, with commit, machine and versions, so that runs
can be compared later; only the ratios within one run are claims.
"""

import argparse
import importlib
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from benchmarks.table import Table, show

NAMES = {
    "pack": "samples into one shard, beside webdataset and tarfile",
    "overhead": "marginal cost per sample of a stage, local and ray, beside Ray Data",
    "nodes": "two simulated nodes of a cluster beside one",
    "stage": "three annotators sharing one decode, beside the bare models",
    "stores": "a dataset on an object store, beside one in a folder (needs moto and the extra stores)",
    "captioner": "requests kept in flight to a served model, and what one costs",
    "device": "how busy a stage keeps a device, in parts and at once",
    "loader": "training samples read and decoded, beside webdataset, litData and mosaicml-streaming",
    "feed": "how long a trainer waits for examples, and how evenly ranks are busy (needs torch)",
    "agreement": "how often a score of agreement falls when annotations are exchanged",
    "memory": "peak RSS at ten times the images",
    "render": "textured views per CPU-second, and memory after many objects (needs the extra scenes)",
    "group": "ten thousand faces grouped by whom they show (needs the extra annotators)",
    "audit": "a report and a query over ten million samples",
    "takedown": "a thousand keys of ten million rows taken down",
    "scale": "status and resume over 75,000 manifests, plan and duplicates of ten million rows",
    "startup": "onegen --help",
    "network": "the model beside a per-token reference (needs torch)",
}


def main() -> None:
    """Run what the command line names, all without a name."""
    listed = "\n".join(f"  {name:10}{what}" for name, what in NAMES.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Ours beside peers, ratios in one run.\n\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which to run; all without one")
    parser.add_argument("--results", type=Path, help="append the rows to this file of JSON lines")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NAMES]
    if unknown:
        parser.error(f"NAME must be one of {', '.join(NAMES)}, got {unknown[0]!r}")
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(f"{machine()}; commit {commit()}\n", highlight=False)
    for name in arguments.names or NAMES:
        if name == "network":
            run_network(console)
            continue
        tables = importlib.import_module(f"benchmarks.{name}").run()
        for table in tables:
            show(table, console)
        if arguments.results:
            append(arguments.results, name, tables)


def run_network(console: Console) -> None:
    """Run the network's benchmark as the command it is, or say what it lacks."""
    if importlib.util.find_spec("torch") is None:
        lacking = "network: needs torch, which is not installed. Install it with: pip install 'onegen[torch]'\n"
        console.print(lacking, markup=False, highlight=False)
        return
    sys.stdout.flush()
    subprocess.run([sys.executable, "-m", "benchmarks.network"], check=True)


def append(path: Path, name: str, tables: Sequence[Table]) -> None:
    """Add the rows of a benchmark's tables to a results file."""
    about = {"when": time.strftime("%FT%TZ", time.gmtime()), "commit": commit(), "machine": machine()}
    with path.open("a", encoding="utf-8") as file:
        for table in tables:
            for row in table.rows:
                said = {**about, "benchmark": name, "table": table.title, "unit": table.unit, **asdict(row)}
                file.write(json.dumps({**said, "loads": list(table.loads)}) + "\n")


def machine() -> str:
    """Return what this runs on."""
    cores = len(os.sched_getaffinity(0))
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return f"{system}, {cores} cores, python {platform.python_version()}"


def commit() -> str:
    """Return the commit that is measured, with + where files differ from it; `unknown` outside a checkout."""
    try:
        described = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
        return subprocess.run(described, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


if __name__ == "__main__":
    main()
