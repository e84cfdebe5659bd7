"""A server that speaks the language of Google Cloud Storage, over the S3 server of tests.

Google's XML interface differs from S3's in names of headers, in how one says who one is, and in generations, by which
versions of objects are told: this translates the first two and keeps the third. No package brings a storage of
Google's; what is answered follows the reference of its XML API.
"""

import contextlib
import threading
from collections.abc import Iterator
from urllib.parse import quote, unquote, urlsplit

from benchmarks.object_server import BUCKET, SIGNED
from tests.bucket import Answer, Request, served

TOKEN = "a-token-of-someone"


class Google:
    """The generations of objects, and what is answered; one request is answered at a time."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._generations: dict[str, int] = {}
        self._last = 1_700_000_000_000_000
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Answer:
        """Answer a request as Google would."""
        told = {name.lower(): value for name, value in request.headers.items()}
        if told.pop("authorization", "") != f"Bearer {TOKEN}":
            return 401, [], b"<Error><Code>AuthenticationRequired</Code></Error>"
        where = urlsplit(request.path)
        name = unquote(where.path)
        with self._lock:
            wanted = told.pop("x-goog-if-generation-match", None)
            if wanted is not None and int(wanted) != self._generations.get(name, 0):
                return 412, [], b"<Error><Code>PreconditionFailed</Code></Error>"
            if source := told.pop("x-goog-copy-source", ""):
                told["x-amz-copy-source"] = source
            # Google's clients escape what S3's leave as it is.
            path = where._replace(path=quote(name)).geturl()
            onward = Request(request.method, path, told | {"authorization": SIGNED}, request.body)
            status, headers, data = onward.onward(self._endpoint)
            if status < 300:
                self._note(request.method, name, where.query)
            headers = [(key, value) for key, value in headers if not key.lower().startswith("x-amz-")]
            if name in self._generations:
                headers.append(("x-goog-generation", str(self._generations[name])))
            return status, headers, data

    def _note(self, method: str, name: str, query: str) -> None:
        """Keep what became of an object: parts of one that is not whole yet are none."""
        if method == "DELETE":
            self._generations.pop(name, None)
        elif method in ("PUT", "POST") and "uploads" not in query and "partNumber" not in query:
            self._last += 1
            self._generations[name] = self._last


@contextlib.contextmanager
def google(endpoint: str) -> Iterator[dict[str, str]]:
    """Run it in front of an S3 server, and give the variables by which it is found."""
    with served(Google(endpoint).answer) as own:
        yield {"GOOGLE_BASE_URL": own, "GOOGLE_BEARER_TOKEN": TOKEN}


URL = f"gs://{BUCKET}"
