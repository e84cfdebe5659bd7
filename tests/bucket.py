"""An object store for tests: moto's S3 server, a process of its own, and what may stand between it and us.

    python -m moto.server -H 127.0.0.1 -p 5000

is the same by hand.
"""

import contextlib
import http.client
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUCKET = "one-gen"
VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL")


@contextlib.contextmanager
def served_bucket() -> Iterator[str]:
    """Run the server with an empty bucket, and give its endpoint."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while not _answers(f"{endpoint}/{BUCKET}", server):
                time.sleep(0.05)
            yield endpoint
        finally:
            server.kill()


def _answers(url: str, server: "subprocess.Popen[bytes]") -> bool:
    """Make the bucket, and say whether the server could; raises where the server is gone."""
    if server.poll() is not None:
        raise RuntimeError(f"moto's server ended with {server.returncode} before it answered")
    try:
        scope = "Credential=someone/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
        request = urllib.request.Request(url, method="PUT", headers={"Authorization": f"AWS4-HMAC-SHA256 {scope}"})
        with urllib.request.urlopen(request, timeout=30):
            return True
    except urllib.error.HTTPError:
        raise
    except OSError:
        return False


def environment(endpoint: str) -> dict[str, str]:
    """Return the variables by which the server's store is found."""
    return dict(zip(VARIABLES, ("someone", "a-secret-of-someone", "us-east-1", endpoint), strict=True))


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
