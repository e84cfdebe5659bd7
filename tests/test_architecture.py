"""Imports point down one list, and nothing heavy is imported at start. DESIGN section 3.

PYTHONPATH=. python -m pytest tests/test_architecture.py
"""

import ast
import functools
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ORDER = [
    "cli", "schemas", "report", "dry_run", "build", "trainer", "eval", "sampler", "audit", "loader", "executor",
    "progress", "verify", "status", "show", "depth_head",
    "pending", "steps", "source_column", "stage", "column_shard", "feed", "select", "refresh", "job", "ingest",
    "sources", "annotators",
    "shards", "photos", "photo_pairs", "conditions", "sheet", "tasks", "geometry", "model", "flow",
    "where", "recipes", "pixels", "upright", "phash", "text", "outcome", "config", "inference", "weights", "hed_graph",
    "pinned", "wheels", "registry", "sample",
]  # fmt: skip
"""Modules and packages of onegen, from the command line down to the records; each may import what stands after it."""


@functools.cache
def modules() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((ROOT / "onegen").rglob("*.py"))
    }


@functools.cache
def imports(path: Path) -> set[str]:
    """Return the modules of onegen that a file imports anywhere, also inside functions and TYPE_CHECKING."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} must import by full name"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name in modules()} - {"onegen"}


def place(module: str) -> str:
    return module.split(".")[1]


def test_every_module_has_a_place():
    assert {place(module) for module in modules() if module != "onegen"} <= set(ORDER)
    assert len(set(ORDER)) == len(ORDER)


def test_imports_point_down():
    upward = [
        f"{module} imports {other}"
        for module, path in modules().items()
        for other in imports(path)
        if module != "onegen" and ORDER.index(place(other)) < ORDER.index(place(module))
    ]
    assert upward == []


def test_no_import_goes_round():
    # A package's own name is left out: its __init__ may gather its modules, and importing one of them imports it.
    graph = {
        module: {other for other in imports(path) if not f"{module}.".startswith(f"{other}.")}
        for module, path in modules().items()
    }
    graphlib.TopologicalSorter(graph).prepare()


SHARDS = ", ".join(name for name in modules() if name.startswith("onegen.shards."))


@pytest.mark.parametrize("module", ["onegen", SHARDS, "onegen.build", "onegen.cli"])
def test_starts_without_heavy_packages(module):
    program = (
        f"import sys, {module}\n"
        "heavy = {'torch', 'ray', 'matplotlib', 'transformers', 'pandas'}\n"
        "print(*heavy & {name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def catches_all(handler: ast.ExceptHandler) -> bool:
    names = {node.id for node in ast.walk(handler.type or handler) if isinstance(node, ast.Name)}
    return handler.type is None or bool(names & {"Exception", "BaseException"})


def test_one_place_catches_every_exception():
    caught = [
        module
        for module, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler) and catches_all(node)
    ]
    assert caught == ["onegen.stage"]
