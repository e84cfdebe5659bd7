"""Captions by a served model, asked of a small server of this process.

PYTHONPATH=. python -m pytest tests/annotators/test_caption_server.py
"""

import base64
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from onegen.annotators.caption.server import KEY, PROMPTS, ServedCaption
from onegen.annotators.shared.caption_faults import fault_of
from onegen.build.assemble import column_job
from onegen.config.recipe import make_annotator
from onegen.errors import ConfigError, SampleError, Stopped, Unavailable
from onegen.sample import Annotation, InParts, Item
from tests.tiny import make_recipe, picture, rows, run, statuses, write_photos

GOOD = "A cat sleeps on a red sofa, with a window behind it"
Reply = tuple[int, bytes, dict[str, str]]


def says(text: str | None, finish: str = "stop") -> Reply:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return 200, json.dumps({"choices": [choice]}).encode(), {}


class Endpoint:
    """A server that answers by `reply(question, how many came before)`, and remembers what it was asked."""

    def __init__(self) -> None:
        self.reply: Callable[[dict[str, Any], int], Reply] = lambda question, number: says(GOOD)
        self.models: Reply = (200, json.dumps({"data": [{"id": "see"}]}).encode(), {})
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.barrier: threading.Barrier | None = None
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                endpoint.headers.append(dict(self.headers))
                self._answer(endpoint.models)

            def do_POST(self) -> None:
                question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with endpoint.lock:
                    number = len(endpoint.asked)
                    endpoint.asked.append(question)
                    endpoint.headers.append(dict(self.headers))
                if endpoint.barrier is not None:
                    endpoint.barrier.wait()
                self._answer(endpoint.reply(question, number))

            def _answer(self, reply: Reply) -> None:
                code, data, headers = reply
                self.send_response(code)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    started = Endpoint()
    yield started
    started.close()


def captioner(endpoint: Endpoint, **options: Any) -> ServedCaption:
    return ServedCaption(model="see", url=endpoint.url, **{"pause_seconds": 0.0, "attempts": 3, **options})


def item(number: int = 0) -> Item:
    return Item(f"{number:020x}", picture(number, (60, 80)), caption="as it came")


def test_a_caption_is_what_the_model_says_of_the_picture(endpoint):
    (answer,) = captioner(endpoint).annotate([item()])
    assert answer == Annotation({"caption": f"{GOOD}.", "captioner": "see", "num_words": 12, "original": "as it came"})
    (question,) = endpoint.asked
    text, image = question["messages"][0]["content"]
    assert text == {"type": "text", "text": PROMPTS["long"]}
    data = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/jpeg;base64,"))
    seen = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert np.abs(seen.astype(int) - item().pixels).mean() < 8
    assert (question["model"], question["temperature"], question["max_tokens"]) == ("see", 0.0, 400)


def test_prompts_have_two_forms_and_may_be_one_s_own_and_large_pictures_are_made_smaller(endpoint):
    captioner(endpoint, prompt="short", max_side=32).annotate([item()])
    captioner(endpoint, prompt="Count the cats.").annotate([item()])
    prompts = [question["messages"][0]["content"][0]["text"] for question in endpoint.asked]
    assert prompts == [PROMPTS["short"], "Count the cats."]
    url = endpoint.asked[0]["messages"][0]["content"][1]["image_url"]["url"]
    assert cv2.imdecode(np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8), 1).shape == (24, 32, 3)


def test_requests_are_in_flight_together(endpoint):
    endpoint.barrier = threading.Barrier(16, timeout=30)  # breaks, and the answers with it, unless all are there
    assert len(captioner(endpoint, in_flight=16).annotate([item(n) for n in range(16)])) == 16


def test_the_next_batch_is_asked_before_this_one_is_answered(endpoint):
    endpoint.barrier = threading.Barrier(16, timeout=30)
    captioned = captioner(endpoint, in_flight=16)
    assert isinstance(captioned, InParts)
    batches = [[captioned.prepare(item(n)) for n in range(start, start + 8)] for start in (0, 8)]
    answers = [answer for batch in batches for answer in captioned.infer(batch)]
    assert [captioned.finish(item(n), answer) for n, answer in enumerate(answers)] == answers
    assert len(endpoint.asked) == 16


def test_what_failed_beside_others_is_not_asked_again(endpoint):
    """A batch is asked in halves where one row fails; the others are answered already."""
    captioned = captioner(endpoint)
    endpoint.reply = lambda question, number: (400, b"no", {}) if number == 0 else says(GOOD)
    asked = [captioned.prepare(item(0))]
    asked[0].exception()
    asked += [captioned.prepare(item(n)) for n in (1, 2)]
    with pytest.raises(SampleError):
        captioned.infer(asked)
    assert len(captioned.infer(asked[1:])) == 2
    assert len(endpoint.asked) == 3


@pytest.mark.parametrize(
    "bad",
    [
        (429, b"slow down", {"Retry-After": "0"}),
        (500, b"oops", {}),
        (503, b"", {}),
        (200, b"{", {}),
        (200, b"[]", {}),
        (200, b'{"choices": []}', {}),
        (200, b'{"choices": [{"message": 5}]}', {}),
        (200, b'{"choices": [{"message": {"content": [1]}}]}', {}),
        (200, b'{"choi', {"Content-Length": "900"}),
    ],
    ids=str,
)
def test_what_may_be_better_a_moment_later_is_asked_again(endpoint, bad):
    endpoint.reply = lambda question, number: bad if number < 2 else says(GOOD)
    captioned = captioner(endpoint, timeout_seconds=5)
    (answer,) = captioned.annotate([item()])
    assert answer.values["caption"] == f"{GOOD}."
    assert len(endpoint.asked) == 3


def test_a_server_that_stays_away_blames_no_sample(endpoint):
    endpoint.reply = lambda question, number: (500, b"oops", {})
    with pytest.raises(Unavailable, match="did not answer in 3 attempts: HTTP Error 500"):
        captioner(endpoint).annotate([item()])
    endpoint.close()
    with pytest.raises(Unavailable):
        captioner(endpoint).annotate([item()])


@pytest.mark.parametrize("reply", [(400, b"too large", {}), (200, b"{", {})])
def test_what_is_no_answer_fails_its_sample(endpoint, reply):
    endpoint.reply = lambda question, number: reply
    with pytest.raises(SampleError) as caught:
        captioner(endpoint).annotate([item()])
    assert caught.value.reason == "bad_answer"
    assert len(endpoint.asked) == (1 if reply[0] == 400 else 3)


FAULTS = {
    "empty_caption": says("[[ ]] \n"),
    "refused_caption": says("I'm sorry, but I can't help with that."),
    "cut_caption": says("A cat on a", "length"),
    "looping_caption": says("a cat on a mat and then " * 5),
    "foreign_caption": says("一只猫睡在红色沙发上，后面有一扇窗户。"),
}


@pytest.mark.parametrize("reason", FAULTS)
def test_a_bad_caption_is_asked_for_once_more_and_then_fails_by_its_reason(endpoint, reason):
    endpoint.reply = lambda question, number: FAULTS[reason] if number == 0 else says(GOOD)
    (answer,) = captioner(endpoint).annotate([item()])
    assert answer.values["caption"] == f"{GOOD}."
    assert [question["temperature"] for question in endpoint.asked] == [0.0, 0.7]
    endpoint.reply = lambda question, number: FAULTS[reason]
    with pytest.raises(SampleError) as caught:
        captioner(endpoint).annotate([item(1)])
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "caption",
    [
        GOOD,
        "Sorry-looking houses line a street.",
        "A café in Košice, seen at dusk.",
        "A sign says 猫 above a door in a long and otherwise English sentence.",
        "Red, red, red roses and more red roses.",
    ],
)
def test_good_captions_have_no_fault(caption):
    assert fault_of(caption) is None


def test_nothing_is_asked_twice_neither_in_halves_nor_by_the_next_run(endpoint, tmp_path):
    first = captioner(endpoint, cache=str(tmp_path / "cache"))
    first.annotate([item(0), item(1)])
    first.annotate([item(1)])
    assert len(endpoint.asked) == 2
    captioner(endpoint, cache=str(tmp_path / "cache")).annotate([item(0), item(1)])
    assert len(endpoint.asked) == 2
    (damaged, *_) = sorted((tmp_path / "cache").rglob("*.json"))
    damaged.write_text("{")
    captioner(endpoint, cache=str(tmp_path / "cache")).annotate([item(0), item(1)])
    assert len(endpoint.asked) == 3
    captioner(endpoint, cache=str(tmp_path / "cache"), prompt="short").annotate([item(0)])
    assert len(endpoint.asked) == 4


def test_the_secret_is_sent_and_never_stored(endpoint, monkeypatch):
    monkeypatch.setenv(KEY, "s3cret")
    captioned = captioner(endpoint)
    captioned.annotate([item()])
    assert endpoint.headers[0]["Authorization"] == "Bearer s3cret"
    assert b"s3cret" not in pickle.dumps(captioned)
    endpoint.models = (401, b"", {})
    with pytest.raises(ConfigError, match=f"Set {KEY}") as caught:
        captioned.load()
    assert "s3cret" not in str(caught.value)


def test_the_endpoint_is_asked_for_its_models_before_any_picture(endpoint):
    captioner(endpoint).load()
    with pytest.raises(ConfigError, match=r"got 'sea', not \['see'\]"):
        ServedCaption(model="sea", url=endpoint.url).load()
    for lists_none in ((404, b"", {}), (200, b"[]", {}), (200, b"{", {})):
        endpoint.models = lists_none
        ServedCaption(model="sea", url=endpoint.url).load()
    endpoint.close()
    with pytest.raises(ConfigError, match="must answer, and does not"):
        captioner(endpoint).load()


def test_only_what_changes_captions_is_in_the_fingerprint(endpoint):
    _, made = make_annotator("caption", {"backend": "server", "model": "see", "url": endpoint.url, "in_flight": 3})
    settings = column_job("caption", made, "image").provenance.settings
    assert set(settings["options"]) == {
        "model", "backend", "prompt", "max_tokens", "temperature", "max_side"
    }  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [{"max_tokens": 0}, {"in_flight": 0}, {"timeout_seconds": 0.0}, {"url": "localhost:8000"}, {"attempts": 0}],
)
def test_options_out_of_their_range_are_refused(options):
    with pytest.raises(ConfigError):
        ServedCaption(**{"model": "see", **options})


def test_a_build_captions_all_but_the_picture_the_model_refuses(endpoint, tmp_path: Path):
    write_photos(tmp_path / "photos", 6)
    refused: list[str] = []

    def reply(question: dict[str, Any], number: int) -> Reply:
        image = question["messages"][0]["content"][1]["image_url"]["url"]
        if not refused:
            refused.append(image)
        return says("I cannot describe this image.") if image == refused[0] else says(GOOD)

    endpoint.reply = reply
    entry = {"backend": "server", "model": "see", "url": endpoint.url, "pause_seconds": 0.0}
    stages = [{"name": "words", "annotators": {"caption": entry}}]
    run(make_recipe(tmp_path / "photos", stages, limits={"failure_rate": 1.0}), tmp_path / "out")
    found = statuses(tmp_path / "out", "caption")
    assert sorted(found) == ["failed refused_caption", *["ok"] * 5]
    assert {row.values["captioner"] for row in rows(tmp_path / "out", "caption") if row.status == "ok"} == {"see"}
    assert len(endpoint.asked) == 7, "one picture twice, and none again for its neighbour's sake"


def test_a_long_caption_is_stored_whole(endpoint):
    long = " ".join(f"word{number}" for number in range(350))
    endpoint.reply = lambda question, number: says(long)
    (answer,) = captioner(endpoint).annotate([item()])
    assert answer.values["caption"] == f"{long}."


def test_the_secret_does_not_follow_a_redirection(endpoint, monkeypatch):
    other = Endpoint()
    try:
        monkeypatch.setenv(KEY, "s3cret")
        endpoint.models = (302, b"", {"Location": f"{other.url}/models"})
        captioner(endpoint).load()
        assert [headers.get("Authorization") for headers in endpoint.headers] == ["Bearer s3cret"]
        assert [headers.get("Authorization") for headers in other.headers] == [None]
    finally:
        other.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_server_that_goes_away_stops_the_build_and_fails_no_row(endpoint, tmp_path: Path, workers: int):
    write_photos(tmp_path / "photos", 12)
    entry = {"backend": "server", "model": "see", "url": endpoint.url, "pause_seconds": 0.0, "attempts": 2}
    recipe = make_recipe(
        tmp_path / "photos",
        [{"name": "words", "annotators": {"caption": entry}, "batch_size": 4}],
        samples_per_shard=4,
    )
    endpoint.reply = lambda question, number: says(GOOD) if number < 5 else (503, b"", {})
    # In this process nothing stands between; workers are tried afresh first.
    ends, says_why = (Stopped, "blaming no sample:") if workers else (Unavailable, "")
    with pytest.raises(ends, match=rf"(?s){says_why}.*did not answer in 2 attempts: HTTP Error 503"):
        run(recipe, tmp_path / "out", workers=workers)
    assert "failed" not in " ".join(statuses(tmp_path / "out", "caption"))
    endpoint.reply = lambda question, number: says(GOOD)
    run(recipe, tmp_path / "out", workers=workers)
    assert statuses(tmp_path / "out", "caption") == ["ok"] * 12
