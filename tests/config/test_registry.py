"""PYTHONPATH=. python -m pytest tests/config/test_registry.py"""

import importlib
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import onegen.annotators.depth
from onegen.build.build import build
from onegen.build.work import Options
from onegen.config import registry
from onegen.config.recipe import Recipe
from onegen.config.registry import available, backends, find, register
from onegen.errors import ConfigError, nearest
from onegen.shards.dataset import Dataset
from onegen.storage import open_store
from tests.tiny import Ears

ROOT = Path(__file__).parents[2]


def test_the_names_are_the_files():
    for family in ("annotators", "sources"):
        files = {path.stem for path in (ROOT / "onegen" / family).glob("*.py") if path.stem not in ("__init__", "base")}
        folders = {path.parent.name for path in (ROOT / "onegen" / family).glob("*/__init__.py")}
        files |= folders - {"shared", "reading"}
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
        "normals", "from onegen.annotators import register\n@register('annotators', 'normals')\nclass N: pass\n"
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
        "from onegen.annotators import register\n"
        "@register('annotators', 'two', 'paper')\nclass P: pass\n"
        "@register('annotators', 'two', 'embedded')\nclass E: pass\n",
    )
    assert find("annotators", name, {}).__name__ == "E"
    assert find("annotators", name, {"backend": "paper"}).__name__ == "P"
    told = r"backend of 'myonegenlab\.two' must be one of embedded, paper, got 'papr'; did you mean 'paper'"
    with pytest.raises(ConfigError, match=told):
        find("annotators", name, {"backend": "papr"})


def test_a_package_whose_name_begins_like_the_plugins_is_the_one_that_is_missing(plugin):
    with pytest.raises(ConfigError, match=r"'myonegenlab\.short' needs the package 'my', which is not installed"):
        find("annotators", plugin("short", "import my"), {})


TOY = """
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from onegen.annotators import register
from onegen.annotators.depth import PROVIDES, annotation_of
from onegen.annotators.shared.pixels import pixels_of
from onegen.sample import Annotation, BaseAnnotator, Item, Provides, Rejected


@register("annotators", "depth", backend="toy-depth")
@dataclass(frozen=True)
class ToyDepth(BaseAnnotator):
    '''Bright is near.'''

    backend: Literal["toy-depth"] = "toy-depth"

    name: ClassVar[str] = "depth"
    version: ClassVar[int] = 1
    provides: ClassVar[Provides] = PROVIDES

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        return [annotation_of(pixels_of(item).mean(axis=2)) for item in items]
"""


@pytest.fixture
def backend(tmp_path, monkeypatch):
    """Write a backend of `depth` as a file of its folder, and give the function that does it."""
    monkeypatch.setattr(onegen.annotators.depth, "__path__", [*onegen.annotators.depth.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "_CLASSES", dict(registry._CLASSES))
    written: list[str] = []

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        written.append(name)

    yield write
    for name in written:
        sys.modules.pop(f"onegen.annotators.depth.{name}", None)


def test_a_backend_is_a_file_and_a_line_in_a_recipe(backend, tmp_path):
    backend("toy_depth", TOY)
    assert "toy_depth" in backends("annotators", "depth")
    dark_to_bright = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[np.newaxis, :, np.newaxis], 48, axis=0)
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.repeat(dark_to_bright, 3, axis=2)).save(tmp_path / "photos" / "ramp.png")
    recipe = {
        "name": "toy",
        "source": {"folder": str(tmp_path / "photos")},
        "stages": [{"name": "near", "annotators": {"depth": {"backend": "toy-depth"}}}],
    }
    store = open_store(str(tmp_path / "out"))
    build(Recipe.model_validate(recipe), store, Options(workers=0), Ears())
    (manifest,) = Dataset(store).manifests("depth")
    assert (manifest.counts.ok, manifest.settings["options"]) == (1, {"backend": "toy-depth"})
    with tarfile.open(tmp_path / "out" / "shards" / "000000.tar") as packed:
        (member,) = [name for name in packed.getnames() if name.endswith("depth.png")]
        stored = np.asarray(Image.open(packed.extractfile(member)))
    assert (stored.dtype, stored.shape) == (np.uint16, (48, 64))
    assert (np.diff(stored[0].astype(int)) > 0).all()
    assert (stored[0, 0], stored[0, -1]) == (0, 65535)


def test_an_unknown_backend_is_answered_with_the_nearest_and_the_list(backend):
    backend("toy_depth", TOY)
    for wanted, told in (("toy-deph", "did you mean 'toy-depth'"), ("zzzz", "choose from depth-anything")):
        with pytest.raises(ConfigError, match=f"one of .*embedded, .*toy-depth, got '{wanted}'; {told}"):
            find("annotators", "depth", {"backend": wanted})


def test_a_backend_whose_extra_is_missing_says_so_and_the_others_work(backend):
    backend("needy", "import nosuchpackage.part")
    with pytest.raises(ConfigError, match=r"'depth' with the backend 'needy' needs the package 'nosuchpackage'.*pip"):
        find("annotators", "depth", {"backend": "needy"})
    assert find("annotators", "depth", {}).__module__ == "onegen.annotators.depth.embedded"


def test_a_backend_that_registers_nothing_is_named(backend):
    backend("idle", "")
    with pytest.raises(ConfigError, match=r"file idle\.py of 'depth' must register the backend 'idle', and does not"):
        find("annotators", "depth", {"backend": "idle"})


def test_a_name_is_held_by_one_class():
    first = register("tests", "once")(type("First", (), {}))
    assert register("tests", "once")(first) is first
    with pytest.raises(ConfigError, match=r"tests name must be unique, got 'once' \(default\) from .* and "):
        register("tests", "once")(type("Second", (), {}))


def test_nearest_is_a_question_or_the_list():
    assert nearest("colr", ["color", "size"]) == "did you mean 'color'?"
    assert nearest("qqq", ["size", "color"]) == "choose from color, size."
    assert nearest("x", []) == "choose from (none)."


def test_somebody_s_module_of_our_name_hides_nothing_of_ours():
    """Their module registers `aesthetic`, as ours does: each is found by the name that a recipe gives."""

    @register("annotators", "aesthetic")
    class Theirs:
        """One of a package elsewhere."""

    ours = find("annotators", "aesthetic", {})
    assert ours.__module__ == "onegen.annotators.aesthetic.laion"
    assert find("annotators", "aesthetic", {"backend": "laion"}) is ours
    assert Theirs is not ours
