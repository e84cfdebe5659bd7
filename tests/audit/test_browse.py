"""What browsing answers, and whom it refuses. PYTHONPATH=. python -m pytest tests/audit/test_browse.py"""

import contextlib
import http.client
import io
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import numpy as np
import pytest
from PIL import Image

from onegen.audit.browse.server import Server
from onegen.audit.browse.view import PAGE, Browser, Wanted
from onegen.audit.tables import open_tables
from onegen.errors import ConfigError
from tests.audit.audited import snapshot
from tests.chromium import browser as chromium
from tests.chromium import needs_chromium
from tests.cli.test_app import invoke
from tests.tiny import dataset, make_recipe, rows, run, write_photos

MARKUP = "<script>document.title = 'stolen'</script><img src=x onerror=\"document.title = 'stolen'\"> a cat's tail"
STAGE = {"name": "look", "annotators": {"scores": {}, "tests.plugins.tone": {}, "tests.plugins.embedding": {}}}


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures in eight shards, one called like markup and captioned so; some have no embedding."""
    root = tmp_path_factory.mktemp("browsed")
    write_photos(root / "photos", 60, {0: MARKUP, 3: "a dog", 4: "a dog"})
    (root / "photos/00007.jpg").rename(root / "photos/<img src=x onerror=alert(2)>.jpg")
    run(make_recipe(root / "photos", [STAGE], select={"exact_duplicates": "drop"}), root / "out", workers=0)
    return root / "out"


@pytest.fixture(scope="module")
def view(looked_at: Path) -> Iterator[Browser]:
    with open_tables(dataset(looked_at)) as tables, contextlib.closing(Browser(dataset(looked_at), tables)) as opened:
        yield opened


@pytest.fixture(scope="module")
def server(view: Browser) -> Iterator[Server]:
    with Server(view) as started:
        threading.Thread(target=started.serve_forever, daemon=True).start()
        yield started
        started.shutdown()


def told(out: Path, column: str, field: str) -> dict[str, object]:
    return {str(row.key): row.values.get(field) for row in rows(out, column)}


def keys(answer: dict) -> list[str]:
    return [row["key"] for row in answer["rows"]]


def test_the_first_page_is_the_dataset_in_its_order(view: Browser, looked_at: Path) -> None:
    stored = [row.key for row in rows(looked_at, "image")]
    first, second, third = (view.samples(Wanted(page=page)) for page in range(3))
    assert (first["total"], keys(first), keys(second), keys(third)) == (60, stored[:PAGE], stored[PAGE:], [])


def test_the_commands_take_a_folder_whose_name_has_spaces(looked_at: Path, tmp_path: Path) -> None:
    own = dataset(Path(shutil.copytree(looked_at, tmp_path / "my set")))
    with open_tables(own) as tables, contextlib.closing(Browser(own, tables)) as spaced:
        assert spaced.about()["shell"] == f"'{own.store.url}'"


def test_an_expression_and_a_select_choose_what_they_say(view: Browser, looked_at: Path) -> None:
    bright = {key for key, value in told(looked_at, "scores", "brightness").items() if value > 0.5}
    assert 0 < len(bright) < 60
    for where in ("scores.brightness > 0.5", "SELECT key FROM samples WHERE scores.brightness > 0.5;"):
        answer = view.samples(Wanted(where))
        assert answer["total"] == len(bright)
        assert set(keys(answer)) == bright
    # As in recipes: an error over a row, and null, are no.
    assert view.samples(Wanted("CAST(tone.text AS INTEGER) > 0"))["total"] == 0
    assert view.samples(Wanted("embedding.status = 'filtered' AND embedding.reason = 'dark'"))["total"] > 0


@pytest.mark.parametrize("is_descending", [False, True])
def test_samples_are_sorted_by_any_field_those_without_a_value_last(
    view: Browser, looked_at: Path, is_descending: bool
) -> None:
    for column, field in (("scores", "brightness"), ("image", "caption")):
        values = told(looked_at, column, field)
        answer = view.samples(Wanted(sort=f"{column}.{field}", is_descending=is_descending))
        shown = [row["value"] for row in answer["rows"]]
        known = sorted((value for value in values.values() if value is not None), reverse=is_descending)
        assert shown == [*known, *[None] * 60][:PAGE]
        assert all(values[row["key"]] == row["value"] for row in answer["rows"])


@pytest.mark.parametrize("field", ["scores.sharpness", "image.width", "image.caption", "embedding.status"])
def test_each_bar_chooses_what_it_counts(view: Browser, field: str) -> None:
    answer = view.bars("scores.brightness < 0.6", field)
    assert sum(bar["count"] for bar in answer["bars"]) == view.samples(Wanted("scores.brightness < 0.6"))["total"]
    for bar in answer["bars"]:
        chosen = view.samples(Wanted(f"(scores.brightness < 0.6) AND {bar['where']}"))
        assert chosen["total"] == bar["count"], bar


def test_neighbours_are_those_that_numpy_finds(view: Browser, looked_at: Path) -> None:
    found = {
        (shard, row.position): np.array(row.values["features"])
        for shard in dataset(looked_at).shards("embedding")
        for row in dataset(looked_at).rows(dataset(looked_at).require_manifest("embedding", shard))
        if row.status == "ok"
    }
    assert 1 < len(found) < 60
    place = sorted(found)[3]
    near = {
        other: float(vector @ found[place] / np.linalg.norm(vector) / np.linalg.norm(found[place]))
        for other, vector in found.items()
    }
    answer = view.neighbours(*place)
    expected = sorted(near, key=lambda other: (other != place, -near[other]))[:PAGE]
    assert [(row["shard"], row["position"]) for row in answer["rows"]] == expected
    assert [row["value"] for row in answer["rows"]] == pytest.approx([near[other] for other in expected])
    dark = next((m.shard, row.position) for m in dataset(looked_at).manifests("embedding")
                for row in dataset(looked_at).rows(m) if row.status != "ok")  # fmt: skip
    with pytest.raises(ConfigError, match="embedding must have an answer"):
        view.neighbours(*dark)


def test_a_sample_has_every_column_and_is_found_by_the_beginning_of_its_key(view: Browser, looked_at: Path) -> None:
    row = rows(looked_at, "image")[0]
    sample = view.find(str(row.key)[:9])
    assert sample["key"] == row.key
    (tiles,) = sample["tiles"]
    assert {"image", "tone", "caption", "values"} <= {tile["label"] for tile in tiles}
    assert all(tile["picture"].startswith("data:image/jpeg;base64,") for tile in tiles if tile["picture"])
    with Image.open(io.BytesIO(view.thumbnail(0, 0))) as image:
        assert image.size == (row.values["width"], row.values["height"])


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted("scores.sharpnes > 1"), "did you mean 'sharpness'"),
        (Wanted("score.sharpness > 1"), "did you mean 'scores'"),
        (Wanted("scores.sharpness >"), "syntax error"),
        (Wanted("image.width > (SELECT 1)"), "no subquery"),
        (Wanted("SELECT key FROM sampels"), "did you mean 'samples'"),
        (Wanted("SELECT status FROM samples"), "must answer the field key"),
        (Wanted("SELECT key FROM read_csv('/etc/passwd')"), "tables of the dataset alone"),
        (Wanted("SELECT key FROM samples; DROP VIEW samples"), "must be one SELECT"),
        (Wanted("SELECT 1 AS key) TO 'x.csv'"), "syntax error"),
        (Wanted("DROP VIEW samples"), "syntax error"),
        (Wanted("true) OR (1 = 1"), "must name a column|syntax error"),
        (Wanted(sort="scores.sharpnes"), "did you mean 'scores.sharpness'"),
    ],
)
def test_what_cannot_be_asked_is_one_line(view: Browser, wanted: Wanted, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        view.samples(wanted)
    assert "Traceback" not in str(error.value)


def test_a_key_that_is_not_there_is_told(view: Browser) -> None:
    for key in ("no such key", "", "%"):
        with pytest.raises(ConfigError, match="key must be in the dataset"):
            view.find(key)
    with pytest.raises(ConfigError, match="must have an image"):
        view.sample(0, 99)
    with pytest.raises(ConfigError, match="shard 000099 must have images"):
        view.thumbnail(99, 0)


def test_an_answer_that_takes_too_long_is_given_up(looked_at: Path) -> None:
    opened = dataset(looked_at)
    endless = "SELECT a.key FROM image a, range(9000000000) b, range(9000000000) c WHERE b.range + c.range = -1"
    with (
        open_tables(opened) as tables,
        contextlib.closing(Browser(opened, tables, patience=0.2)) as hasty,
        pytest.raises(ConfigError, match=r"must come in 0\.2 s"),
    ):
        hasty.samples(Wanted(endless))


def test_what_was_taken_down_is_not_shown_also_where_that_was_a_moment_ago(looked_at: Path, tmp_path: Path) -> None:
    own = dataset(Path(shutil.copytree(looked_at, tmp_path / "out")))
    gone, other = (str(row.key) for row in rows(looked_at, "image")[:2])
    marks = tmp_path / "keys.txt"
    marks.write_text(f"{gone}\n")
    done = invoke("takedown", tmp_path / "out", "--file", marks)
    assert done.exit_code == 0, done.output
    with open_tables(own) as tables, contextlib.closing(Browser(own, tables)) as late:
        assert late.samples(Wanted())["total"] == 59
        assert gone not in keys(late.samples(Wanted()))
        assert late.samples(Wanted(f"SELECT '{gone}' AS key"))["total"] == 0
        with pytest.raises(ConfigError, match="key must be in the dataset"):
            late.find(gone)
        for ask_for in (late.thumbnail, late.sample):
            with pytest.raises(ConfigError, match="must have an image"):
                ask_for(0, 0)
        assert late.thumbnail(0, 1)
        assert invoke("takedown", tmp_path / "out", "--key", other).exit_code == 0
        for question in (lambda: late.samples(Wanted()), lambda: late.thumbnail(0, 1), lambda: late.find(other)):
            with pytest.raises(ConfigError, match="Start onegen browse again"):
                question()


def test_indexes_that_a_build_replaced_meanwhile_are_told_as_that(looked_at: Path, tmp_path: Path) -> None:
    own = dataset(Path(shutil.copytree(looked_at, tmp_path / "out")))
    key = str(rows(looked_at, "image")[0].key)
    with open_tables(own) as tables, contextlib.closing(Browser(own, tables)) as early:
        assert early.sample(0, 0)
        for path in (tmp_path / "out/columns/image").glob("*.parquet"):
            path.unlink()
        questions = (
            lambda: early.samples(Wanted()),
            lambda: early.bars("", "image.width"),
            lambda: early.find(key),
            lambda: early.sample(0, 0),
        )
        for question in questions:
            with pytest.raises(ConfigError, match="Start onegen browse again"):
                question()


def test_nothing_of_the_dataset_changes(view: Browser, looked_at: Path) -> None:
    before = snapshot(looked_at)
    view.samples(Wanted("scores.brightness > 0.5", "image.width"))
    view.find(str(rows(looked_at, "image")[0].key))
    assert snapshot(looked_at) == before


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*server.server_address)
    with contextlib.closing(connection):
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read()


@pytest.mark.parametrize(
    ("token", "headers"),
    [
        ("", {}),
        ("wrong", {}),
        ("é", {}),
        (None, {"Host": "evil.example"}),
        (None, {"Host": "evil.example:80"}),
        (None, {"Host": "127.0.0.1.evil.example"}),
        (None, {"Origin": "http://evil.example"}),
        (None, {"Origin": "null"}),
        (None, {"Origin": "http://127.0.0.1:1"}),
        (None, {"Sec_Fetch_Site": "cross-site"}),
        (None, {"Sec_Fetch_Site": "same-site"}),
    ],
)
@pytest.mark.parametrize("name", ["", "about", "samples", "thumbnail?shard=0&position=0"])
def test_who_is_not_this_page_is_refused(server: Server, token: str | None, headers: dict, name: str) -> None:
    path = f"/{quote(server.token if token is None else token)}/{name}"
    status, body = ask(server, path, **headers)
    assert status == 403
    assert b'"rows"' not in body
    assert b"<html" not in body


def test_the_page_itself_and_a_forwarded_port_are_answered(server: Server, looked_at: Path) -> None:
    assert urlsplit(server.url).hostname == "127.0.0.1"
    assert server.server_address[0] == "127.0.0.1"
    for headers in (
        {},
        {"Host": "localhost:9000", "Origin": "http://localhost:9000"},
        {"Sec_Fetch_Site": "same-origin"},
    ):
        status, body = ask(server, f"/{server.token}/samples?{urlencode({'where': 'image.width > 0'})}", **headers)
        assert (status, json.loads(body)["total"]) == (200, 60)


def test_what_is_no_address_is_answered_and_not_a_traceback(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    assert ask(server, f"/{server.token}/about", Host="[::1")[0] == 400
    assert "Traceback" not in capfd.readouterr().err


def test_only_questions_are_taken(server: Server) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(server, f"/{server.token}/samples", method)[0] == 501
    assert ask(server, f"/{server.token}/../../etc/passwd")[0] == 404
    assert ask(server, f"/{server.token}/no")[0] == 404
    for name in ("sample?shard=x&position=0", "sample", "thumbnail?shard=0&position=-1", "samples?page=1e9"):
        status, body = ask(server, f"/{server.token}/{name}")
        assert status == 400
        assert "must be a whole number" in json.loads(body)["error"]


def test_a_port_that_is_taken_and_a_foreign_folder_are_one_line(
    server: Server, looked_at: Path, tmp_path: Path
) -> None:
    taken = invoke("browse", looked_at, "--port", server.server_address[1])
    assert (taken.exit_code, "--port must be free" in taken.stderr) == (2, True)
    foreign = invoke("browse", tmp_path)
    assert (foreign.exit_code, "must hold a dataset" in foreign.stderr) == (2, True)


@pytest.mark.slow
@needs_chromium
def test_a_person_finds_sorts_marks_and_saves_by_keyboard(server: Server, looked_at: Path, tmp_path: Path) -> None:
    told_text = "document.getElementById('told').textContent"
    with chromium() as page:
        page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        page.open(server.url, "document.body.dataset.bars")
        assert page.ask(told_text) == "60 samples"
        # Filter by typing, sort, and see what numpy sees.
        page.press("/")
        assert page.focused() == "input#where"
        page.type("scores.brightness > 0.5")
        page.press("Enter")
        bright = {key: value for key, value in told(looked_at, "scores", "brightness").items() if value > 0.5}
        page.wait(f"{told_text} === '{len(bright)} samples'")
        page.ask("(() => { const s = document.getElementById('sort'); s.value = 'scores.brightness'; "
                 "s.dispatchEvent(new Event('change')); })()")  # fmt: skip
        order = sorted(bright, key=lambda key: bright[key])
        cards = "[...document.querySelectorAll('[role=option]')].map((c) => c.querySelector('p').textContent)"
        page.wait(f"JSON.stringify({cards}) === {json.dumps(json.dumps(order[:PAGE], separators=(',', ':')))}")
        # Tab leads from the controls to the grid, arrows inside it; m marks, Enter opens, Escape comes back.
        for _ in range(30):
            page.press("Tab")
            if page.ask("document.activeElement.getAttribute('role')") == "option":
                break
        assert page.ask("document.activeElement.getAttribute('role')") == "option", (len(order), page.focused())
        page.press("ArrowRight", "m", "ArrowRight", "m", "Enter")
        page.wait("document.getElementById('sample').open")
        assert page.ask("document.getElementById('sample-title').textContent") == order[2]
        page.press("ArrowLeft")
        page.wait(f"document.getElementById('sample-title').textContent === '{order[1]}'")
        page.press("Escape")
        page.wait("!document.getElementById('sample').open")
        assert page.ask("document.activeElement.getAttribute('aria-selected')") == "true"
        assert order[1] in page.ask("document.activeElement.getAttribute('aria-label')")
        page.click("#save")
        # The browser keeps the name by an empty file until what it loads is whole.
        while not ((saved := tmp_path / "keys.txt").is_file() and saved.stat().st_size):
            page.ask("new Promise((done) => setTimeout(done, 20))")
        assert saved.read_text().split() == order[1:3]
        # A wrong name is told, and what is shown stays.
        page.ask("document.getElementById('where').value = 'scores.sharpnes > 1'")
        page.click("#asking [type=submit]")
        page.wait("document.getElementById('wrong').textContent.includes('did you mean')")
        # Every control has a name for a screen reader.
        nameless = (
            "[...document.querySelectorAll('button, input, select, [role=img], dialog')].filter((e) => "
            "!(e.textContent.trim() || e.labels?.length || e.ariaLabel || e.getAttribute('aria-labelledby')))"
        )
        assert page.ask(f"{nameless}.map((e) => e.id)") == []
        # The console says of a refused question that it was refused, and nothing else.
        assert [line for line in page.complaints if "status of 400" not in line] == []
        assert [url for url in page.requests if not url.startswith((server.url, "data:", "blob:"))] == []


@pytest.mark.slow
@needs_chromium
def test_a_bar_is_clicked_neighbours_are_shown_and_markup_is_text(server: Server, looked_at: Path) -> None:
    told_text = "document.getElementById('told').textContent"
    with chromium() as page:
        page.open(server.url, "document.body.dataset.bars")
        page.ask("(() => { const s = document.getElementById('field'); s.value = 'image.caption'; "
                 "s.dispatchEvent(new Event('change')); })()")  # fmt: skip
        page.wait("document.getElementById('plot').dataset.field === 'image.caption'")
        # By frequency: none, a dog, and the markup.
        x, y = page.ask("(() => { const b = document.querySelectorAll('#plot .bars path')[1].getBoundingClientRect(); "
                        "return [b.x + b.width / 2, b.y + b.height / 2]; })()")  # fmt: skip
        page.click_at(x, y)
        page.wait(f"{told_text} === '2 samples'")
        assert page.ask("document.getElementById('where').value") == "image.caption = 'a dog'"
        page.click("#all")
        page.wait(f"{told_text} === '60 samples'")
        named = next(str(row.key) for row in rows(looked_at, "image") if row.values["caption"] == MARKUP)
        page.ask(f"document.getElementById('key').value = '{named}'")
        page.click("#go")
        page.wait(f"document.getElementById('sample-title').textContent === '{named}'")
        assert MARKUP.split()[-1] in page.ask("document.getElementById('tiles').textContent")
        place = page.ask("document.getElementById('sample').dataset.shard")
        page.click("#near")
        page.wait(f"{told_text}.includes('nearest') || document.getElementById('wrong').textContent")
        page.wait("!document.getElementById('sample').open")
        assert place == "0"
        assert page.ask("document.querySelectorAll('main script, main [onerror]').length") == 0
        assert page.ask("document.title") == "tiny: browse"
        page.ask("document.getElementById('key').value = 'no such key'")
        page.click("#go")
        page.wait("document.getElementById('wrong').textContent.includes('key must be in the dataset')")
        assert [line for line in page.complaints if "status of 400" not in line] == []
        assert [url for url in page.requests if not url.startswith((server.url, "data:", "blob:"))] == []
