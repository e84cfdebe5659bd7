"""The S3 server of tests: what may stand between us and it, faults and an ear, and all that lies there."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from onegen.storage.objects import ObjectStore

Fault = Callable[[str, str, int], int | None]
"""What happens to a request (method, path, how many came before): None for nothing, 0 drops the line, else a status."""
Headers = list[tuple[str, str]]
Answer = tuple[int, Headers, bytes]
_BUSY: Headers = [("Content-Type", "application/xml")]
_TOO_MANY = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


@dataclass(frozen=True)
class Request:
    """What came: the method, the path with its query, the headers and the body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def onward(self, endpoint: str) -> Answer:
        """Ask another server the same, and return what it answers."""
        host, port = endpoint.removeprefix("http://").split(":")
        with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=60)) as line:
            line.request(self.method, self.path, self.body, self.headers)
            answer = line.getresponse()
            return answer.status, answer.getheaders(), answer.read()


@contextlib.contextmanager
def between(endpoint: str, fault: Fault) -> Iterator[tuple[str, list[str]]]:
    """Stand between us and a server: give an endpoint of its own, and the requests that came as `METHOD path`."""
    seen: list[str] = []
    lock = threading.Lock()

    def answer(request: Request) -> Answer | None:
        with lock:
            seen.append(f"{request.method} {request.path}")
            status = fault(request.method, request.path, len(seen) - 1)
        if status == 0:
            return None
        return request.onward(endpoint) if status is None else (status, _BUSY, _TOO_MANY)

    with served(answer) as own:
        yield own, seen


@contextlib.contextmanager
def served(answer: Callable[[Request], Answer | None]) -> Iterator[str]:
    """Serve these answers on this machine, and give the endpoint; the line of one without an answer is dropped."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = answer(Request(self.command, self.path, dict(self.headers), body))
            if said is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            status, headers, data = said
            self.send_response(status)
            skipped = {"connection", "transfer-encoding", *(() if self.command == "HEAD" else ("content-length",))}
            for name, value in headers:
                if name.lower() not in skipped:
                    self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def fetched(store: ObjectStore, folder: Path) -> Path:
    """Bring all that lies on a store to a folder, as anyone would who copies a dataset."""
    pending = [""]
    while pending:
        at = pending.pop()
        below = f"{at}/" if at else ""
        pending += [f"{below}{name}" for name in store.folders(at)]
        for name in store.names(at):
            path = folder / below / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(store.read(f"{below}{name}"))
    return folder
