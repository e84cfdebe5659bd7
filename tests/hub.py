"""A model hub on this machine: the part of its interface that weights are fetched by, over folders of tests.

It counts what it is asked and can be told to answer otherwise. Repositories are folders; a commit is the SHA-1 of what
a repository holds, a file of weights is in large-file storage and has a SHA-256, any other git's hash of a blob.
"""

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LARGE = (".safetensors", ".bin", ".pt", ".pth", ".onnx")


def blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def commit_of(folder: Path) -> str:
    state = hashlib.sha1(usedforsecurity=False)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            state.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return state.hexdigest()


class Hub:
    """What a hub has: `repos` by name, those that are `gated`, the licence it says; `asked` counts requests.

    `lie` are bytes to send instead of a file's own, by name; `break_after` so many bytes of it, once, the connection
    ends.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Path] = {}
        self.gated: set[str] = set()
        self.licence = "apache-2.0"
        self.asked: Counter[str] = Counter()
        self.lie: dict[str, bytes] = {}
        self.break_after: dict[str, int] = {}
        self.url = ""

    def info(self, repo: str) -> dict[str, Any]:
        folder = self.repos[repo]
        siblings = []
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                data = path.read_bytes()
                entry: dict[str, Any] = {"rfilename": path.relative_to(folder).as_posix(), "size": len(data)}
                entry["blobId"] = blob(data)
                if path.suffix in LARGE:
                    entry["lfs"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pointerSize": 134}
                siblings.append(entry)
        return {
            "id": repo,
            "modelId": repo,
            "sha": commit_of(folder),
            "siblings": siblings,
            "cardData": {"license": self.licence},
            "tags": [],
            "private": False,
            "gated": False,
            "downloads": 0,
            "likes": 0,
        }


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._serve(has_body=False)

        def do_GET(self) -> None:
            self._serve(has_body=True)

        def log_message(self, *arguments: Any) -> None:
            pass

        def _serve(self, has_body: bool) -> None:
            path = self.path.partition("?")[0]
            if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path):
                hub.asked["info"] += 1
                self._info(match[1], match[2])
            elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([0-9a-f]+)/(.+)", path):
                self._file(match[1], match[2], match[3], has_body)
            else:
                self._refuse(404)

        def _info(self, repo: str, revision: str) -> None:
            if repo in hub.gated and "Authorization" not in self.headers:
                self._refuse(403, "GatedRepo")
            elif repo not in hub.repos:
                self._refuse(404, "RepoNotFound")
            elif revision not in ("main", commit_of(hub.repos[repo])):
                self._refuse(404, "RevisionNotFound")
            else:
                self._send(json.dumps(hub.info(repo)).encode(), {"Content-Type": "application/json"})

        def _file(self, repo: str, commit: str, name: str, has_body: bool) -> None:
            data = (hub.repos[repo] / name).read_bytes()
            etag = hashlib.sha256(data).hexdigest() if name.endswith(LARGE) else blob(data)
            data = hub.lie.get(name, data)
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
            if not has_body:
                self._send(data, headers, has_body=False)
                return
            hub.asked[name] += 1
            start = 0
            if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                start = int(match[1])
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
                hub.asked[f"{name} from {start}"] += 1
            self._send(data[start:], headers, 206 if start else 200, cut=hub.break_after.pop(name, None))

        def _send(
            self,
            data: bytes,
            headers: dict[str, str],
            code: int = 200,
            has_body: bool = True,
            cut: int | None = None,
        ) -> None:
            self.send_response(code)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if has_body:
                self.wfile.write(data if cut is None else data[:cut])
            if cut is not None:
                self.close_connection = True

        def _refuse(self, code: int, word: str = "") -> None:
            self.send_response(code)
            if word:
                self.send_header("X-Error-Code", word)
                self.send_header("X-Error-Message", word)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler


@contextmanager
def running() -> Iterator[Hub]:
    """Serve a hub on a free port of this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
