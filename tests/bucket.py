"""The S3 server of tests: what may stand between us and it, faults and an ear, and all that lies there."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from onegen.storage.objects import ObjectStore

Fault = Callable[[str, str, int], int | None]
"""What happens to a request (method, path, how many came before): None for nothing, 0 drops the line, else a status."""


@contextlib.contextmanager
def between(endpoint: str, fault: Fault) -> Iterator[tuple[str, list[str]]]:
    """Stand between us and a server: give an endpoint of its own, and the requests that came as `METHOD path`."""
    host, port = endpoint.removeprefix("http://").split(":")
    seen: list[str] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                seen.append(f"{self.command} {self.path}")
                status = fault(self.command, self.path, len(seen) - 1)
            if status == 0:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if status is not None:
                data = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
                self._answer(status, [("Content-Type", "application/xml")], data)
                return
            onward = http.client.HTTPConnection(host, int(port), timeout=60)
            onward.request(self.command, self.path, body, dict(self.headers))
            answer = onward.getresponse()
            self._answer(answer.status, answer.getheaders(), answer.read())
            onward.close()

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass

        def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
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

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
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
