"""PYTHONPATH=. python -m pytest tests/config/test_registry.py"""

import subprocess
import sys
from pathlib import Path

import pytest

from onegen.config.registry import available, find, register
from onegen.errors import ConfigError, nearest

ROOT = Path(__file__).parents[2]


def test_the_names_are_the_files():
    for family in ("annotators", "sources"):
        files = {path.stem for path in (ROOT / "onegen" / family).glob("*.py") if path.stem not in ("__init__", "base")}
        files |= {path.parent.name for path in (ROOT / "onegen" / family).glob("*/embedded.py")}
        assert available(family) == sorted(files)
    assert "hed" in available("annotators")
    assert "folder" in available("sources")


def test_a_class_is_found_by_its_name():
    cls = find("sources", "folder", {})
    assert (cls.__module__, cls.__name__) == ("onegen.sources.folder", "Folder")


def test_only_the_module_that_is_named_is_imported():
    program = (
        "import sys; from onegen.config.registry import find; find('annotators', 'scores', {});"
        "print(*sorted(n for n in sys.modules if n.startswith('onegen.annotators.') and '._' not in n))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "onegen.annotators.scores",
        "onegen.annotators.shared",
        "onegen.annotators.shared.pixels",
    ]


@pytest.mark.parametrize(
    ("family", "name", "message"),
    [
        ("annotators", "hde", "annotators 'hde' is unknown; did you mean 'hed'"),
        ("annotators", "zzzz", "annotators 'zzzz' is unknown; choose from .*hed"),
        ("sources", "foldr", "did you mean 'folder'"),
        ("annotators", "nowhere.hed", "'nowhere.hed' is unknown"),
        ("annotators", "json", "'json' is unknown"),
    ],
)
def test_an_unknown_name_gets_the_nearest(family, name, message):
    with pytest.raises(ConfigError, match=message):
        find(family, name, {})


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Write modules of another package, and give the function that does it."""
    (tmp_path / "myonegenlab").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, text: str) -> str:
        (tmp_path / "myonegenlab" / f"{name}.py").write_text(text)
        return f"myonegenlab.{name}"

    yield write
    for name in [name for name in sys.modules if name.startswith("myonegenlab")]:
        del sys.modules[name]


def test_a_dotted_name_lives_in_another_package(plugin):
    name = plugin(
        "normals", "from onegen.config.registry import register\n@register('annotators', 'normals')\nclass N: pass\n"
    )
    assert find("annotators", name, {}).__module__ == name


def test_a_module_that_registers_nothing_is_named(plugin):
    with pytest.raises(ConfigError, match=r"'myonegenlab\.empty' must register 'empty', and does not"):
        find("annotators", plugin("empty", ""), {})


def test_a_missing_package_is_named_with_the_way_to_install_it(plugin):
    with pytest.raises(ConfigError, match=r"needs the package 'nosuchpackage'.*pip install"):
        find("annotators", plugin("needy", "import nosuchpackage.part"), {})


def test_backends_are_chosen_by_option_and_embedded_is_the_default(plugin):
    name = plugin(
        "two",
        "from onegen.config.registry import register\n"
        "@register('annotators', 'two', 'paper')\nclass P: pass\n"
        "@register('annotators', 'two', 'embedded')\nclass E: pass\n",
    )
    assert find("annotators", name, {}).__name__ == "E"
    assert find("annotators", name, {"backend": "paper"}).__name__ == "P"
    with pytest.raises(ConfigError, match=r"backend of 'myonegenlab\.two' is unknown: 'papr'; did you mean 'paper'"):
        find("annotators", name, {"backend": "papr"})


def test_a_name_is_held_by_one_class():
    first = register("tests", "once")(type("First", (), {}))
    assert register("tests", "once")(first) is first
    with pytest.raises(ConfigError, match=r"tests name must be unique, got 'once' \(default\) from .* and "):
        register("tests", "once")(type("Second", (), {}))


def test_nearest_is_a_question_or_the_list():
    assert nearest("colr", ["color", "size"]) == "did you mean 'color'?"
    assert nearest("qqq", ["size", "color"]) == "choose from color, size."
    assert nearest("x", []) == "choose from (none)."
