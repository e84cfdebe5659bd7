"""Documents hold: every command parses and runs, and every path, link, room, column and rule they name is there.

    PYTHONPATH=. python -m pytest tests/test_documents.py              what can be checked without running anything
    PYTHONPATH=. python -m pytest tests/test_documents.py -m slow      every block of every document, in order

A `sh` block is run, a `python` block is a program, a `sql` block is asked of duckdb; a block whose first line is a
comment with a file name is that file. A command that ends in `# exits 2` must. `make`, `pip install` and `source` are
looked up in the Makefile and pyproject.toml instead: the environment they make is the one this runs in. Nothing is
downloaded: photos and weights lie in the user's cache by now, and pip is told to stay offline.
"""

import ast
import contextlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from onegen.annotators.shared.torch_annotator import TorchAnnotator
from onegen.cli.app import app
from onegen.cli.exit_codes import ExitCode
from onegen.config.collection import Collection, Member, shipped_collections, shipped_recipes
from onegen.config.recipe import ImageConfig, LimitsConfig, PackConfig, Recipe, SelectConfig, StageConfig
from onegen.config.registry import available, backends, find
from onegen.config.shipped import recipe_path
from onegen.weights.fetch import fetch, models_folder
from tests.packaged import bring_models, bring_sets, photo

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
"""What is run from end to end; the others are checked only."""
DOCUMENTS = [*PAGES, "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
LANGUAGES = {"sh", "python", "yaml", "sql", "text"}
NOT_RUN = {
    "docs/audit.md": ["serves until Ctrl-C"],
    "docs/build.md": ["needs a running Ray cluster"],
    "docs/cluster.md": ["needs a network and a shared folder", "needs a running Ray cluster"],
    "docs/evaluation.md": ["needs the benchmarks' data"],
    "docs/stores.md": ["needs an object store"],
}
"""Blocks that a comment `<!-- not run: WHY -->` excuses: a new one must be written down here too."""
LOOKED_UP = ("make", "pip", "source")
PHOTOS = (
    *("32bit", "astronaut", "biden", "bus", "cheetah1", "cheetah1-copy", "chelsea", "coffee", "coins"),
    *("obama", "obama2", "rocket", "zidane"),
)
"""The demo photos that documents are run with: each that one names, people and animals, a copy, and one stored anew."""
LEAVE_SOME = """for file in demo/photos/*.???; do
    stem="${file##*/}"
    case " $PHOTOS " in *" ${stem%.*} "*) ;; *) rm -f "${file%.*}".* ;; esac
done"""
TOOLS = {"mkdir", "cp", "printf", "sed", "tar", "git"}
README_LINES = 200


@dataclass(frozen=True)
class Block:
    """A fenced block: the document's line it starts on, its language and text, and why it is not run."""

    document: str
    line: int
    language: str
    text: str
    not_run: str = ""

    @property
    def where(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def file(self) -> str:
        """The file this block is, by the comment on its first line."""
        match = re.match(r"# ([\w/.-]+\.(?:py|yaml))\n", self.text)
        return match[1] if match else ""

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block, continuations joined."""
        lines = self.text.replace("\\\n", " ").splitlines() if self.language == "sh" else []
        return [line for line in lines if line.strip() and not line.startswith("#")]


HUB_OPTIONS = {field.name for field in fields(TorchAnnotator)}
"""Options of every backend that runs a hub's weights on torch, told of in one place."""


def blocks(document: str) -> list[Block]:
    found: list[Block] = []
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    start, indent, language, excuse = 0, "", "", ""
    for number, line in enumerate(lines, start=1):
        fence = re.match(r"( *)```(.*)$", line)
        if fence and start == 0:
            start, indent, language = number, fence[1], fence[2]
            excused = re.match(r"\s*<!-- not run: (.+) -->$", lines[number - 2]) if number > 1 else None
            excuse = excused[1] if excused else ""
        elif fence:
            inside = [each.removeprefix(indent) for each in lines[start : number - 1]]
            found.append(Block(document, start, language, "\n".join(inside) + "\n", excuse))
            start = 0
    assert start == 0, f"{document}:{start} must end"
    return found


def every_block() -> list[Block]:
    return [block for document in DOCUMENTS for block in blocks(document)]


FENCED = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)


def prose(document: str) -> str:
    """The text outside of fenced blocks."""
    return re.sub(
        r"^ *```.*?^ *```$", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )


def inline_code(document: str) -> list[str]:
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(document))]


# What a shell would run, without running it.


def simple_commands(document: str) -> Iterator[tuple[Block, list[str]]]:
    """Yield the words of every simple command of a document, variables it set filled in, redirections left out."""
    variables: dict[str, str] = {}
    for block in blocks(document):
        for line in block.commands:
            for name, value in variables.items():
                line = line.replace(f"${name}", value)
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words: list[str] = []
            for word in [*lexer, ";"]:
                if set(word) <= set(";&|"):
                    while words and re.match(r"[A-Za-z_]\w*=", words[0]):
                        name, _, value = words.pop(0).partition("=")
                        variables[name] = value
                    if words:
                        yield block, words
                    words = []
                else:
                    words.append(word)


def check_command(block: Block, words: list[str]) -> None:
    """Raise AssertionError, or what the command line itself raises, for a command that cannot be run."""
    program, *arguments = words
    if program == "onegen":
        parse(typer.main.get_command(app), arguments)
        if arguments[0] == "build" and not arguments[1].startswith("-"):
            check_recipe(block, arguments[1])
    elif program == "python":
        assert arguments[0] == "-m"
        assert module_file(arguments[1]), f"{arguments[1]} must be a module"
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for target in (word for word in arguments if "=" not in word):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make has no {target}"
    elif program == "pip":
        assert arguments[0] == "install"
        for extra in re.findall(r"onegen\[(\w+)\]", " ".join(arguments)):
            assert extra in project()["project"]["optional-dependencies"]
    elif program == "ray":
        # What a job runs stands behind its two dashes.
        if "--" in arguments:
            check_command(block, arguments[arguments.index("--") + 1 :])
    elif program == "source":
        assert arguments == [".venv/bin/activate"]
    elif Path(program).name in ("pre-commit",):
        assert (ROOT / ".pre-commit-config.yaml").is_file()
    else:
        assert program in TOOLS, f"{program} is not known to these tests"


def parse(command: typer.main.TyperGroup, arguments: list[str]) -> None:
    """Hand arguments to the command line's own parser; it raises for a verb or a flag that is not there."""
    inner = getattr(command, "commands", {})
    if arguments and arguments[0] in inner:
        parse(inner[arguments[0]], arguments[1:])
    elif "--help" not in arguments:
        assert not (inner and arguments and not arguments[0].startswith("-")), f"{command.name} has no {arguments[0]}"
        command.make_context(str(command.name), list(arguments))


def check_recipe(block: Block, name: str) -> None:
    written = {other.file for other in blocks(block.document)}
    assert name in written or recipe_path(name).is_file(), f"no recipe {name}"


def module_file(name: str) -> Path | None:
    """Return the file of a module of this repository."""
    stem = ROOT / name.replace(".", "/")
    for path in (stem.with_suffix(".py"), stem / "__main__.py", stem / "__init__.py"):
        if path.is_file():
            return path
    return None


COMMANDS = [
    pytest.param(block, words, id=f"{block.where} {shlex.join(words)}")
    for document in DOCUMENTS
    for block, words in simple_commands(document)
]


@pytest.mark.parametrize(("block", "words"), COMMANDS)
def test_every_command_parses(block, words):
    check_command(block, words)


def test_there_are_commands_to_parse():
    assert len(COMMANDS) > 50


def test_a_wrong_command_is_found():
    block = Block("README.md", 1, "sh", "")
    check_command(block, ["onegen", "build", "quickstart", "out", "--limit", "8"])
    for wrong in (
        "onegen bild quickstart out",
        "onegen build quickstart out --limits 8",
        "onegen build quickstar out",
        "onegen build quickstart out --limit none",
        "onegen status",
        "python -m onegen.photos",
        "make demonstration",
        "pip install onegen[jax]",
        "curl -O weights",
    ):
        with pytest.raises((Exception, SystemExit)):
            check_command(block, shlex.split(wrong))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_in_the_prose_name_what_is_there(document):
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for code in inline_code(document):
        words = code.replace("'", "").split()
        if words[:1] == ["onegen"] and len(words) > 1 and not words[1].startswith("-"):
            assert words[1] in commands, f"{document}: `{code}`"
            command = commands[words[1]]
            command = getattr(command, "commands", {}).get(words[2] if len(words) > 2 else "", command)
            flags = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
            used = {word for word in words[2:] if word.startswith("--")} - {"--help"}
            assert used <= flags, f"{document}: `{code}`"
        if words[:2] == ["python", "-m"]:
            assert module_file(words[2]), f"{document}: `{code}`"
        if words[:1] == ["make"] and len(words) > 1:
            check_command(Block(document, 0, "sh", ""), words)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_says_what_it_is_and_hides_no_command(document):
    for block in blocks(document):
        assert block.language in LANGUAGES, block.where
        if block.language == "text":
            assert not re.search(r"^ *(onegen \w+|make \w+|python -m .*)$", block.text, re.MULTILINE), block.where
        if block.language == "yaml":
            yaml.safe_load(block.text)
        if block.language == "python":
            ast.parse(block.text)


def test_what_is_not_run_is_listed():
    excused: dict[str, list[str]] = {}
    for block in every_block():
        if block.not_run:
            excused.setdefault(block.document, []).append(block.not_run)
    assert excused == NOT_RUN


def test_recipes_in_the_documents_are_recipes():
    recipes = [block for block in every_block() if block.file.endswith(".yaml")]
    assert recipes
    for block in recipes:
        described = yaml.safe_load(block.text)
        (Collection if "datasets" in described else Recipe).model_validate(described)
    for block in every_block():
        for line in block.text.splitlines() if block.language == "yaml" else ():
            if line.startswith("source:"):
                check_source(yaml.safe_load(line)["source"], block.where)


def check_source(described: Mapping[str, object], where: str) -> None:
    (name,) = [key for key in described if key in available("sources")][:1]
    known = {field.name for field in fields(find("sources", name, {}))}
    assert set(described) <= known, where


# Names: paths, links, rooms, columns, rules.

PATH = re.compile(r"(?:onegen|docs|tests|pipelines|schemas|benchmarks|\.ci)/[\w./-]*")
PLACEHOLDER = re.compile(r"NAME|MODALITY|BACKEND")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_and_module_in_the_prose_exists(document):
    for code in inline_code(document):
        if PATH.fullmatch(code) and not PLACEHOLDER.search(code) and document != "CHANGELOG.md":
            assert (ROOT / code).exists(), f"{document}: `{code}`"
        if re.fullmatch(r"onegen(\.\w+)+", code) and document != "CHANGELOG.md":  # which names what was, too
            module, _, attribute = code.rpartition(".")
            named = module_file(code) or re.search(
                rf"^(?:def|class) {attribute}\b|^{attribute}\b", read_module(module), re.MULTILINE
            )
            assert named, f"{document}: `{code}`"


def read_module(name: str) -> str:
    package = ROOT / name.replace(".", "/") / "__init__.py"
    path = package if package.is_file() else module_file(name)
    return path.read_text(encoding="utf-8") if path else ""


def anchors(document: str) -> set[str]:
    """The anchors GitHub gives the headings of a page."""
    headings = re.findall(r"^#{1,6} (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    links = re.findall(r"\]\(([^)\s]+)\)", prose(document))
    for link in links:
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        path = (ROOT / document).parent / target if target else ROOT / document
        assert path.exists(), f"{document}: {link}"
        if anchor:
            assert anchor in anchors(str(path.resolve().relative_to(ROOT.resolve()))), f"{document}: {link}"


def test_every_page_can_be_reached_from_the_readme():
    linked = set(re.findall(r"\]\(([\w/.-]+\.md)", prose("README.md")))
    assert {page for page in DOCUMENTS if page != "README.md"} <= linked


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < README_LINES


def test_the_tree_of_the_readme_is_the_house():
    (tree,) = [block.text for block in blocks("README.md") if block.text.startswith("onegen/\n")]
    rooms = re.findall(r"^  ([\w.]+)/? +\S", tree, re.MULTILINE)
    here = {
        path.name
        for path in (ROOT / "onegen").iterdir()
        if (path.is_dir() and path.name != "__pycache__") or (path.suffix == ".py" and not path.stem.startswith("__"))
    }
    assert len(rooms) == len(set(rooms))
    assert set(rooms) == {name for name in here if name != "_shipped"}
    for folder in re.findall(r"^(\w+)/ ", tree, re.MULTILINE):
        assert (ROOT / folder).is_dir(), folder


def section(document: str, heading: str) -> str:
    """The text below a heading, up to the next of its rank."""
    # A comment in a block is no heading.
    text = re.sub(FENCED, lambda block: block[0].replace("\n#", "\n #"), (ROOT / document).read_text(encoding="utf-8"))
    found = re.search(rf"^(#+) {re.escape(heading)}$\n(.*?)(?=^\1 |^#{{1,2}} |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"{document} must have a section {heading}"
    return found[2]


def table_rows(text: str) -> dict[str, str]:
    """Rows of a table whose first cell is one word of code."""
    return {match[1]: match[2] for match in re.finditer(r"^\| `([\w-]+)` \|(.*)\|$", text, re.MULTILINE)}


@pytest.mark.parametrize("name", available("annotators"))
def test_the_annotators_page_tells_all_a_column_has(name):
    cls = find("annotators", name, {})
    of_a_hub = issubclass(cls, TorchAnnotator)
    if not of_a_hub:
        bring_models()
    annotator = cls if of_a_hub else cls()  # a hub would be asked
    told = section("docs/annotators.md", name)
    row = table_rows((ROOT / "docs/annotators.md").read_text(encoding="utf-8"))[name]
    options = {field.name for field in fields(annotator)} - {"backend"} - (HUB_OPTIONS if of_a_hub else set())
    for word in {*annotator.provides.fields, *(part.name for part in annotator.provides.parts), *options}:
        assert f"`{word}`" in told, f"{name} must tell of {word}"
    for column in annotator.requires:
        assert f"`{column}`" in row, f"{name} needs {column}"
    if of_a_hub:
        assert f"`{cls.model}`" in told
        return
    for weights in annotator.weights():
        assert weights.licence in row, f"{name} computes with weights under {weights.licence}"


def test_the_annotators_page_tells_of_the_options_of_a_hubs_models():
    assert set(table_rows(section("docs/annotators.md", "Weights from a hub"))) == HUB_OPTIONS


def test_the_annotators_page_tells_of_every_backend():
    page = (ROOT / "docs/annotators.md").read_text(encoding="utf-8")
    for name in available("annotators"):
        told = section("docs/annotators.md", name)
        for backend in (file.replace("_", "-") for file in backends("annotators", name)):
            assert backend == "embedded" or f"`{backend}`" in told, f"{name} must tell of {backend}"
    assert "## Weights from a hub" in page


def test_the_annotators_page_tells_of_no_other_column():
    assert set(re.findall(r"^### (\w+)$", prose("docs/annotators.md"), re.MULTILINE)) == set(available("annotators"))


@pytest.mark.parametrize("name", available("sources"))
def test_the_build_page_tells_of_every_option_of_a_source(name):
    told = section("docs/build.md", "Sources")
    assert f"**`{name}`**" in told
    for option in (field.name for field in fields(find("sources", name, {}))):
        assert re.search(rf"`{option}\b|\b{option}: ", told), option


def test_the_build_page_tells_of_every_recipe():
    recipes = set(shipped_recipes())
    assert set(table_rows(section("docs/build.md", "A recipe"))) - set(Recipe.model_fields) == recipes


def test_the_build_page_tells_of_every_collection():
    assert set(table_rows(section("docs/build.md", "A collection"))) - set(Collection.model_fields) - set(
        Member.model_fields
    ) == set(shipped_collections())


@pytest.mark.parametrize(
    "model", [Recipe, ImageConfig, StageConfig, SelectConfig, PackConfig, LimitsConfig, Collection, Member]
)
def test_the_build_page_tells_of_every_key(model):
    page = (ROOT / "docs/build.md").read_text(encoding="utf-8")
    for key in model.model_fields:
        assert re.search(rf"`(pack\.|limits\.|image\.)?{key}[`:]|\b{key}: ", page), key


def test_the_build_page_tells_of_every_exit_code():
    told = re.findall(r"^\| (\d+) \|", section("docs/build.md", "Going on, changing things"), re.MULTILINE)
    assert [int(code) for code in told] == [int(code) for code in ExitCode]


def numbers(document: str) -> set[str]:
    """The rules or sections of a page that others cite by number."""
    text = prose(document)
    rules = set(re.findall(r"^(\d+)\. \*\*", text, re.MULTILINE))
    return rules | set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)\.? ", text, re.MULTILINE))


def test_the_contract_has_its_thirteen_rules():
    assert numbers("docs/contract.md") == {str(number) for number in range(1, 14)}


CITING = [
    path
    for folder in ("onegen", "tests", "benchmarks", "pipelines", "schemas")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".yaml", ".json")
]
CITED = re.compile(r"docs/(\w+\.md)(?:,? (?:rules?|sections?) ((?:\d[\d.]*(?:, | and | to )?)+))?")


def test_what_the_code_cites_is_written():
    for path in CITING:
        if path == Path(__file__):
            continue
        text = re.sub(r"\s+(?:# )?", " ", path.read_text(encoding="utf-8"))
        for page, cited in CITED.findall(text):
            assert (ROOT / "docs" / page).is_file(), f"{path}: docs/{page}"
            for number in re.findall(r"\d+(?:\.\d+)?", cited):
                assert number in numbers(f"docs/{page}"), f"{path}: docs/{page}, {number}"


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    about = project()["project"]
    assert (citation["title"], citation["version"], citation["license"]) == (
        about["name"],
        about["version"],
        about["license"],
    )


def test_the_source_archive_has_every_document():
    packed = project()["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {document.partition("/")[0] for document in DOCUMENTS} | {"CITATION.cff"} <= set(packed)


def test_hooks_are_local_and_run_the_projects_own_tools():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    tools = " ".join(project()["project"]["optional-dependencies"]["dev"])
    for repository in hooks["repos"]:
        assert repository["repo"] == "local"
        for hook in repository["hooks"]:
            tool = re.match(r"\.venv/bin/(\w+)", hook["entry"])
            assert tool, hook["id"]
            assert tool[1] in tools
            assert hook["language"] == "system"


# Running them.


def script(document: str) -> str:
    """Return a document as one shell program that stops at the first thing that goes wrong."""
    lines = ["set -euo pipefail"]
    for block in blocks(document):
        if block.not_run or block.language == "text" or (block.language == "yaml" and not block.file):
            continue
        lines.append(f"echo '== {block.where}'")
        if block.file:
            folder = str(Path(block.file).parent)
            lines += [f"mkdir -p {folder}", f"cat > {block.file} <<'END OF BLOCK'\n{block.text}END OF BLOCK"]
        elif block.language == "sh":
            lines += [runnable(line) for line in block.commands]
        elif block.language == "python":
            lines.append(f"python - <<'END OF BLOCK'\n{block.text}END OF BLOCK")
        elif block.language == "sql":
            lines.append(
                "python -c 'import duckdb, sys; print(duckdb.sql(sys.stdin.read()).fetchall())' "
                f"<<'END OF BLOCK'\n{block.text}END OF BLOCK"
            )
    return "\n".join(lines) + "\n"


def runnable(line: str) -> str:
    """Return a line as it is run: what is looked up instead is passed over, a told exit code is demanded."""
    if line.split()[0] in LOOKED_UP:
        return ":"
    if line.startswith("python -m onegen.demo.photos"):
        # It wants them all, and fetches those that are gone.
        return f'mkdir -p demo/photos && cp "$ALL_PHOTOS"/* demo/photos/\n{line}\n{LEAVE_SOME}'
    told = re.search(r"\s# exits (\d+)\b", line)
    if told is None:
        return line
    return (
        f"code=0; {line[: told.start()]} || code=$?\n"
        + f'test "$code" = {told[1]} || {{ echo "exited $code"; exit 9; }}'
    )


@pytest.mark.parametrize(
    ("line", "passes"),
    [
        ("false    # exits 1: as told", True),
        ("true     # exits 1", False),
        ("false    # exits 2", False),
        ("true     # just a remark", True),
        ("false    # just a remark", False),
        ("make demo", True),
    ],
)
def test_a_told_exit_code_is_demanded(line, passes):
    done = subprocess.run(["bash", "-c", f"set -euo pipefail\n{runnable(line)}"], capture_output=True, check=False)
    assert (done.returncode == 0) == passes


@pytest.fixture
def tools(tmp_path_factory) -> Path:
    """A folder with `onegen` and `python` of this checkout and interpreter, whatever a document sets PYTHONPATH to.

    Where `warm` answers, `onegen sample` is run there.
    """
    folder = tmp_path_factory.mktemp("tools")
    paths = f'PYTHONPATH="{ROOT}${{PYTHONPATH:+:$PYTHONPATH}}"'
    warm = (
        f'[ "$1" = sample ] && [ -S {folder}/warm ] && exec {sys.executable} -S {ROOT}/tests/warm.py {folder}/warm "$@"'
    )
    for name, lines in (
        ("python", [f'{paths} exec {sys.executable} "$@"']),
        ("onegen", [warm, f"{paths} exec {sys.executable} -c 'from onegen.cli.app import main; main()' \"$@\""]),
    ):
        tool = folder / name
        tool.write_text("\n".join(["#!/bin/sh", *lines]) + "\n", encoding="utf-8")
        tool.chmod(0o755)
    return folder


@contextlib.contextmanager
def warmed(document: str, tools: Path) -> Iterator[None]:
    """Have torch imported once for a document that samples again and again."""
    if script(document).count("onegen sample") < 4:
        yield
        return
    with subprocess.Popen([sys.executable, "-m", "tests.warm", str(tools / "warm")], cwd=ROOT) as server:
        try:
            while not (tools / "warm").exists() and server.poll() is None:
                time.sleep(0.1)
            yield
        finally:
            server.kill()


def skip_without_packages(document: str) -> None:
    """Skip where a block imports what an extra brings and this environment lacks."""
    text = "\n".join(block.text for block in blocks(document) if block.language in ("sh", "python"))
    wanted = set(re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE)) & {"torch", "webdataset", "datasets"}
    wanted |= {"torch"} if "onegen.sampler" in text else set()
    wanted |= {"ray"} if "--executor ray" in text else set()
    for package in sorted(wanted):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{document} needs {package}")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("document", [page for page in PAGES if len(script(page).splitlines()) > 1])
def test_every_block_runs(document, tools, tmp_path):
    skip_without_packages(document)
    bring_models()
    if "--encoders embedded" in script(document):
        fetch(("minilm",))
    photo("coffee.png")
    shutil.copytree(models_folder().parent / "photos", tmp_path / "demo" / "photos")
    if "--people" in script(document) or "--objects" in script(document):
        for folder in bring_sets():
            shutil.copytree(folder, tmp_path / "demo" / folder.name)
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": "",
        "ALL_PHOTOS": str(models_folder().parent / "photos"),
        "PHOTOS": " ".join(PHOTOS),
        "PIP_NO_INDEX": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hub"),
        "RAY_AUTH_MODE": "disabled",
    }
    with warmed(document, tools):
        done = subprocess.run(
            ["bash", "-c", f"{LEAVE_SOME}\n{script(document)}"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    assert done.returncode == 0, f"{document} stopped with {done.returncode}:\n{done.stdout[-4000:]}"
