"""The server of `onegen browse`: loopback alone, behind a token that is the first part of every path, and read only.

Who does not come from this machine's own page is refused before anything is looked at: another name of the host (a
page elsewhere whose name was made to mean this machine), another origin, a path without the token.
"""

import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from onegen.audit.browse.view import Browser, Wanted
from onegen.errors import ConfigError

LOOPBACK = "127.0.0.1"
_NAMES = (LOOPBACK, "localhost")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Plotly writes styles into the page; scripts come from here alone."""
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_PAGES = {"": "browse.html", "page.css": "page.css", "browse.css": "browse.css", "browse.js": "browse.js"}
Question = Mapping[str, str]


class Server(ThreadingHTTPServer):
    """Serves one dataset on a port of loopback, a free one for 0; `url` is where, with the token."""

    daemon_threads = True

    def __init__(self, browser: Browser, port: int = 0) -> None:
        self.assets = {name: (_asset(file), _KINDS[file.rpartition(".")[2]]) for name, file in _PAGES.items()}
        self.assets["plotly.js"] = (_plotly(), "text/javascript")
        self.token = secrets.token_urlsafe(24)
        self.answers: Mapping[str, Callable[[Question], Any]] = {
            "about": lambda _: browser.about(),
            "samples": lambda asked: browser.samples(_wanted(asked)),
            "bars": lambda asked: browser.bars(asked.get("where", ""), asked.get("field", "")),
            "find": lambda asked: browser.find(asked.get("key", "")),
            "sample": lambda asked: browser.sample(*_place(asked)),
            "neighbours": lambda asked: browser.neighbours(*_place(asked)),
            "thumbnail": lambda asked: browser.thumbnail(*_place(asked)),
        }
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as error:
            raise ConfigError(f"--port must be free on this machine, got {port}: {error}. Leave it out.") from error

    @property
    def url(self) -> str:
        """The address to open."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/{self.token}/"


class _Handler(BaseHTTPRequestHandler):
    """One request: refused, or answered by an asset or by the browser of the dataset."""

    server: Server
    server_version, sys_version = "onegen", ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a question; a ConfigError is an answer too, with the status 400."""
        host = self.headers.get("Host", "")
        try:
            address, hostname = urlsplit(self.path), urlsplit(f"//{host}").hostname
        except ValueError:
            self._send(HTTPStatus.BAD_REQUEST, b"this is no address", "text/plain")
            return
        token, _, name = address.path.removeprefix("/").partition("/")
        refusal = self._refusal(token, host, hostname)
        if refusal:
            self._send(HTTPStatus.FORBIDDEN, refusal.encode(), "text/plain")
        elif name in self.server.assets:
            self._send(HTTPStatus.OK, *self.server.assets[name])
        elif name in self.server.answers:
            self._answer(name, {key: values[-1] for key, values in parse_qs(address.query).items()})
        else:
            self._send(HTTPStatus.NOT_FOUND, b"there is no such page", "text/plain")

    def _refusal(self, token: str, host: str, hostname: str | None) -> str | None:
        """Return why a request is refused, None where it is not."""
        # Any port: what is forwarded from another machine has the port of that end.
        if hostname not in _NAMES:
            return "host must be 127.0.0.1 or localhost"
        if self.headers.get("Origin", f"http://{host}") != f"http://{host}":
            return "origin must be this page"
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return "only this page may ask"
        if not hmac.compare_digest(token.encode("utf-8", "surrogateescape"), self.server.token.encode()):
            return "the address must be the one that onegen browse printed, with its token"
        return None

    def _answer(self, name: str, asked: Question) -> None:
        try:
            answer = self.server.answers[name](asked)
        except ConfigError as error:
            self._send(HTTPStatus.BAD_REQUEST, json.dumps({"error": str(error)}).encode(), "application/json")
            return
        if isinstance(answer, bytes):
            self._send(HTTPStatus.OK, answer, "image/jpeg", "private, max-age=3600")
        else:
            self._send(HTTPStatus.OK, json.dumps(answer, allow_nan=False).encode(), "application/json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str, cache: str = "no-store") -> None:
        try:
            self.send_response(status)
            own = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(body)), "Cache-Control": cache}
            for header, value in {**own, **_HEADERS}.items():
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            # The page has moved on.
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: paths hold the token."""


def _wanted(asked: Question) -> Wanted:
    page = _whole(asked, "page") if "page" in asked else 0
    return Wanted(asked.get("where", ""), asked.get("sort", ""), asked.get("order") == "descending", page)


def _place(asked: Question) -> tuple[int, int]:
    return _whole(asked, "shard"), _whole(asked, "position")


def _whole(asked: Question, name: str) -> int:
    """Return a whole number of a question, from 0 to what a Parquet index can hold; raises ConfigError."""
    text = asked.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ConfigError(f"{name} must be a whole number from 0 to 999999999, got {text!r}.")
    return int(text)


def _asset(name: str) -> bytes:
    return (files("onegen.audit") / "page" / name).read_bytes()


def _plotly() -> bytes:
    """Return the library that draws; raises ModuleNotFoundError."""
    return (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
