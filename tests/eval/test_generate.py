"""Drawing: each picture from noise of its own, so that neither a death nor a neighbour changes one."""

import pytest

pytest.importorskip("torch")

from onegen.errors import ConfigError
from onegen.eval.crew import Crew, Part
from onegen.eval.generate import Drawing, generate
from onegen.eval.geneval import GenEval
from onegen.eval.records import DRAWINGS, read_generation
from onegen.eval.sampling import Sampling

PROTOCOL = GenEval(prompts=1, images=1)
TINY = Sampling(steps=1, height=32, width=32)


@pytest.fixture(scope="module")
def drawing(model_folder):
    return Drawing(model=str(model_folder), sampling=TINY)


@pytest.fixture(scope="module")
def undisturbed(drawing, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    assert generate(PROTOCOL, drawing, out) == []
    return out


def files(out):
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted((out / DRAWINGS).rglob("*")) if p.is_file()}


def test_the_folder_has_the_benchmarks_layout(undisturbed):
    names = list(files(undisturbed))
    assert names[:2] == ["pictures/00000/metadata.jsonl", "pictures/00000/samples/0000.png"]
    assert len(names) == 6 * 2


def test_the_record_says_how_they_were_drawn(undisturbed, drawing):
    record = read_generation(undisturbed)
    assert record.sampling == Sampling(steps=1, guidance=5.0, height=32, width=32)
    assert (record.model.name, record.seed, record.units) == (drawing.model, 0, 6)
    assert len(record.model.sha256) == 64
    assert "SHA-256" in record.seed_rule


def test_killed_and_resumed_equals_undisturbed(undisturbed, drawing, tmp_path, monkeypatch):
    count = 0
    write = generate.__globals__["write_output"]

    def dying(path, output):
        nonlocal count
        count += 1
        if count == 5:
            raise KeyboardInterrupt
        write(path, output)

    monkeypatch.setitem(generate.__globals__, "write_output", dying)
    with pytest.raises(KeyboardInterrupt):
        generate(PROTOCOL, drawing, tmp_path)
    assert len(files(tmp_path)) == 4
    monkeypatch.undo()
    generate(PROTOCOL, drawing, tmp_path)
    assert files(tmp_path) == files(undisturbed)


def test_shards_make_the_whole(undisturbed, drawing, tmp_path, monkeypatch):
    monkeypatch.setitem(generate.__globals__, "CHUNK", 2)
    for index in range(2):
        generate(PROTOCOL, drawing, tmp_path, part=Part(index, 2))
    assert files(tmp_path) == files(undisturbed)


@pytest.mark.slow
def test_workers_draw_alike(undisturbed, drawing, tmp_path):
    generate(PROTOCOL, drawing, tmp_path, Crew(workers=1))
    assert list(files(tmp_path)) == list(files(undisturbed))


def test_pictures_that_were_drawn_otherwise_are_not_mixed(undisturbed, drawing):
    other = Drawing(model=drawing.model, sampling=Sampling(steps=3, height=32, width=32), seed=1)
    with pytest.raises(ConfigError, match=r"drawn otherwise: sampling.steps: 1 -> 3; seed: 0 -> 1"):
        generate(PROTOCOL, other, undisturbed)
