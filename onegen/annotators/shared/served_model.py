"""What annotators that ask a vision-language model behind an OpenAI-compatible endpoint have in common.

A question is sent off when its picture is ready, and its answer waited for when its batch comes up: the next batch is
asked while the last answers of this one are outstanding. What was answered is kept by image, prompt and model, so that
a row that failed beside others, or a run that died, asks nothing twice. An annotator does no I/O; this one must, its
model is elsewhere.
"""

import base64
import dataclasses
import functools
import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ClassVar

import cv2
import numpy as np
import simplejpeg

from onegen.annotators.shared.answers import Answers
from onegen.annotators.shared.caption_faults import WARMER
from onegen.annotators.shared.pixels import pixels_of
from onegen.errors import ConfigError, SampleError, Unavailable
from onegen.pixels.sizes import fit
from onegen.sample import CHANGES_NO_RESULT, Annotation, BaseAnnotator, Item, Rejected
from onegen.shards.key import seed_of

_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
"""Answers of a server that may be other ones a moment later."""
_LONGEST_PAUSE = 30.0
_QUALITY = 90


@dataclass(frozen=True)
class ServedModel(BaseAnnotator):
    """Base of annotators that ask the `model` at `url`; a subclass says what is asked, and reads the answer.

    Pictures are sent as JPEG of at most `max_side` pixels. An answer that `read` refuses is asked for once more, then
    fails by its reason. 429, 5xx and broken answers are asked for again up to `attempts` times, each pause twice the
    one before. `in_flight` requests run at once: give the stage a batch_size twice as large, so that there is always
    one to ask. `cache` is a folder where answers are kept between runs. Not exact: a served model need not answer alike
    twice. The longest wait for a batch, `attempts` times `timeout_seconds` for every `in_flight` questions of it, must
    stay below the recipe's limits.batch_seconds.
    """

    model: str
    max_tokens: int = 400
    temperature: float = 0.0
    max_side: int = 768
    url: str = field(default="http://127.0.0.1:8000/v1", metadata={CHANGES_NO_RESULT: True})
    in_flight: int = field(default=64, metadata={CHANGES_NO_RESULT: True})
    timeout_seconds: float = field(default=120.0, metadata={CHANGES_NO_RESULT: True})
    attempts: int = field(default=4, metadata={CHANGES_NO_RESULT: True})
    pause_seconds: float = field(default=0.5, metadata={CHANGES_NO_RESULT: True})
    cache: str | None = field(default=None, metadata={CHANGES_NO_RESULT: True})

    name: ClassVar[str]
    version: ClassVar[int]
    secret: ClassVar[str]
    """Environment variable with the secret of the endpoint, where it wants one."""

    def check(self) -> None:
        """Raise ConfigError for an option out of its range, and for a URL that is none."""
        for option, least in (("max_tokens", 1), ("max_side", 16), ("in_flight", 1), ("attempts", 1)):
            if getattr(self, option) < least:
                raise ConfigError(f"{option} of {self.name} must be at least {least}, got {getattr(self, option)}.")
        if not self.timeout_seconds > 0 or not self.pause_seconds >= 0 or not self.temperature >= 0:
            raise ConfigError(
                f"timeout_seconds of {self.name} must be above 0, pause_seconds and temperature at least 0."
            )
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"url of {self.name} must begin with http:// or https://, got {self.url!r}.")

    def question(self) -> str:
        """Return what is asked of every picture."""
        raise NotImplementedError

    def read(self, item: Item, text: str, is_cut: bool) -> Annotation:
        """Return what is stored of an answer; raises SampleError, with what was said, for one that is no good."""
        raise NotImplementedError

    def load(self) -> None:
        """Ask the endpoint for its models; raises ConfigError where it does not answer or has another one."""
        try:
            with urllib.request.urlopen(self._request("models"), timeout=self.timeout_seconds) as answer:
                names = [str(entry["id"]) for entry in json.loads(answer.read())["data"]]
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise ConfigError(
                    f"{self.url} wants a secret, and refuses what {self.secret} holds. Set {self.secret}."
                ) from error
            return  # some servers do not list their models
        except (OSError, http.client.HTTPException) as error:
            raise ConfigError(
                f"{self.url} must answer, and does not: {error}. Start the server, or set url."
            ) from error
        except (ValueError, KeyError, TypeError):
            return
        if names and self.model not in names:
            raise ConfigError(
                f"model of {self.name} must be one that {self.url} has, got {self.model!r}, not {names[:5]}."
            )

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the answer of each item, all asked for at once.

        Raises SampleError bad_answer, or by the reason for which an answer was refused twice, and Unavailable.
        """
        return self.infer([self.prepare(item) for item in items])

    def prepare(self, item: Item) -> "Future[Annotation]":
        """Ask for an item, and return where its answer will be."""
        return self._threads.submit(self._answer_of, item, self._jpeg(pixels_of(item)))

    def infer(self, prepared: "Sequence[Future[Annotation]]") -> list[Annotation | Rejected]:
        """Wait for answers; raises as `annotate` does."""
        return [asked.result() for asked in prepared]

    def finish(self, item: Item, answer: Annotation) -> Annotation:
        """Return the answer, which is read already."""
        return answer

    def __getstate__(self) -> dict[str, Any]:
        """Return the options: threads, and answers kept, belong to a process."""
        return {option.name: getattr(self, option.name) for option in dataclasses.fields(self)}

    @functools.cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.in_flight, f"onegen-{self.name}")

    def _answer_of(self, item: Item, data: bytes) -> Annotation:
        fault = SampleError("bad_answer", "never asked")
        for temperature in (self.temperature, max(self.temperature, WARMER)):
            text, is_cut = self._answer(data, seed_of(item.key, self.name, self.version), temperature)
            try:
                return self.read(item, text, is_cut)
            except SampleError as error:
                fault = error
        raise SampleError(fault.reason, f"{self.model} said twice: {fault}.") from fault

    def _answer(self, data: bytes, seed: int, temperature: float) -> tuple[str, bool]:
        """Return what the model says of a picture, and whether it was cut off; asked once for the same question."""
        url = f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
        content = [{"type": "text", "text": self.question()}, {"type": "image_url", "image_url": {"url": url}}]
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.max_tokens,
            "temperature": temperature,
            "seed": seed % 2**31,
        }
        question = json.dumps(body, sort_keys=True).encode()
        key = hashlib.sha256(question).hexdigest()
        known = self._answers.get(key)
        if known is None:
            known = self._asked(question)
            self._answers.put(key, known)
        return known

    @functools.cached_property
    def _answers(self) -> Answers:
        return Answers(self.cache)

    def _asked(self, question: bytes) -> tuple[str, bool]:
        """Return the answer to a question, asked again where the server may do better.

        Raises SampleError bad_answer, and Unavailable.
        """
        failure: Exception = Unavailable("never asked")
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(_pause(failure, self.pause_seconds * 2 ** (attempt - 1)))
            try:
                request = self._request("chat/completions", question)
                with urllib.request.urlopen(request, timeout=self.timeout_seconds) as answer:
                    choice = json.loads(answer.read())["choices"][0]
                return _text_of(choice["message"]), choice.get("finish_reason") == "length"
            except urllib.error.HTTPError as error:
                if error.code not in _AGAIN:
                    raise SampleError("bad_answer", f"{self.url} answered {error.code}: {_said(error)}") from error
                failure = error
            except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError) as error:
                failure = error
        if isinstance(failure, OSError | http.client.HTTPException):
            raise Unavailable(f"{self.url} did not answer in {self.attempts} attempts: {failure}") from failure
        raise SampleError("bad_answer", f"{self.url} answered what is no completion: {failure!r}") from failure

    def _request(self, path: str, body: bytes | None = None) -> urllib.request.Request:
        request = urllib.request.Request(f"{self.url.rstrip('/')}/{path}", body, {"Content-Type": "application/json"})
        if os.environ.get(self.secret):
            # Not for whoever the endpoint may redirect to.
            request.add_unredirected_header("Authorization", f"Bearer {os.environ[self.secret]}")
        return request

    def _jpeg(self, pixels: np.ndarray) -> bytes:
        scale, size = fit(pixels.shape, self.max_side)
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else np.ascontiguousarray(pixels)
        # A fourth of what OpenCV takes, which is most of what a question costs.
        return simplejpeg.encode_jpeg(small, _QUALITY, "RGB", "420")


def _text_of(message: Mapping[str, Any]) -> str:
    """Return what a message says; raises ValueError for what is no text."""
    content = message["content"]
    if not isinstance(content, str | None):
        raise ValueError(f"content must be text, got {str(content)[:100]}")
    return content or ""


def _pause(failure: Exception, otherwise: float) -> float:
    """Return the seconds to wait: what the server asks for, else the next pause."""
    asked = failure.headers.get("Retry-After", "") if isinstance(failure, urllib.error.HTTPError) else ""
    return min(float(asked) if asked.isdigit() else otherwise, _LONGEST_PAUSE)


def _said(error: urllib.error.HTTPError) -> str:
    try:
        return error.read(300).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return ""
