"""Imports point down six floors, and nothing heavy is imported at start. docs/design.md.

PYTHONPATH=. python -m pytest tests/test_architecture.py
"""

import ast
import functools
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = [
    {"__main__", "cli"},
    {"build", "trainer", "eval"},
    {"annotators", "sources", "executor", "sampler", "loader", "audit"},
    {"model", "shards", "demo", "scenes"},
    {"weights", "config", "tasks", "pixels", "storage", "geometry", "flow"},
    {"sample", "errors"},
]
"""Rooms of onegen, from the command line down to the records. A room may import what stands on a lower floor."""
LOOSE = {"__init__", "__main__", "sample", "errors"}
"""Modules that lie in no folder: every folder stands on them, or Python asks for them by this name."""
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


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


def room(module: str) -> str:
    return module.split(".")[1]


def crossings() -> list[tuple[str, str]]:
    """Return (module, imported module) for imports that leave their room."""
    return [
        (module, other)
        for module, path in modules().items()
        for other in sorted(imports(path))
        if module != "onegen" and room(module) != room(other)
    ]


def test_every_room_has_a_floor_and_only_what_all_stand_on_lies_loose():
    assert {room(module) for module in modules() if module != "onegen"} <= set(FLOOR_OF)
    assert len(FLOOR_OF) == sum(len(rooms) for rooms in FLOORS)
    assert {path.stem for path in (ROOT / "onegen").glob("*.py")} <= LOOSE


def test_no_import_points_upward():
    upward = [
        f"{module} imports {other}" for module, other in crossings() if FLOOR_OF[room(other)] < FLOOR_OF[room(module)]
    ]
    assert upward == []


def test_no_two_rooms_go_round():
    graph: dict[str, set[str]] = {}
    for module, other in crossings():
        graph.setdefault(room(module), set()).add(room(other))
    graphlib.TopologicalSorter(graph).prepare()


def test_no_import_goes_round():
    # A package's own name is left out: its __init__ may gather its modules, and importing one of them imports it.
    graph = {
        module: {other for other in imports(path) if not f"{module}.".startswith(f"{other}.")}
        for module, path in modules().items()
    }
    graphlib.TopologicalSorter(graph).prepare()


SHARDS = ", ".join(name for name in modules() if name.startswith(("onegen.shards.", "onegen.audit.")))


@pytest.mark.parametrize("module", ["onegen", SHARDS, "onegen.build.build", "onegen.cli.app"])
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
    assert caught == ["onegen.build.answering"]


def threaded_reads(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that read Parquet by threads of pyarrow: `read_table`, or reads without `use_threads=False`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            said = {word.arg: word.value for word in node.keywords}
            threads = said.get("use_threads")
            is_plain = isinstance(threads, ast.Constant) and threads.value is False
            reads = node.func.attr in ("iter_batches", "read_row_group", "read_row_groups") or (
                node.func.attr == "read" and ("columns" in said or "parquet" in ast.unparse(node.func.value).lower())
            )
            if node.func.attr == "read_table" or (reads and not is_plain):
                yield node.lineno


def test_parquet_is_read_without_threads_of_its_own() -> None:
    """One that starts while the interpreter ends aborts the process (apache/arrow#34314): a command would exit 134."""
    assert list(threaded_reads(ast.parse("pq.read_table(file, use_threads=False)"))) == [1]
    for read in ("file.read(columns=[])", "pq.ParquetFile(file).read()", "parquet.iter_batches(9, use_threads=True)"):
        assert list(threaded_reads(ast.parse(read))) == [1], read
    found = {
        name: list(threaded_reads(ast.parse(path.read_text(encoding="utf-8")))) for name, path in modules().items()
    }
    assert {name: lines for name, lines in found.items() if lines} == {}
