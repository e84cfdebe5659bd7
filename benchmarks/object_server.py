"""An S3 server on this machine, moto's, a process of its own: for benchmarks and tests of object stores."""

import contextlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

BUCKET = "one-gen"
VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL")
SECRET = "a-secret-of-someone"
_SCOPE = "Credential=someone/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
SIGNED = f"AWS4-HMAC-SHA256 {_SCOPE}"
"""What says who one is; the server looks no further."""


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
            while not _has_bucket(f"{endpoint}/{BUCKET}", server):
                time.sleep(0.05)
            yield endpoint
        finally:
            server.kill()


def environment(endpoint: str) -> dict[str, str]:
    """Return the variables by which the server's store is found."""
    return dict(zip(VARIABLES, ("someone", SECRET, "us-east-1", endpoint), strict=True))


def _has_bucket(url: str, server: "subprocess.Popen[bytes]") -> bool:
    """Make the bucket, and say whether the server could; raises where the server is gone, or refuses."""
    if server.poll() is not None:
        raise RuntimeError(f"moto's server ended with {server.returncode} before it answered")
    request = urllib.request.Request(url, method="PUT", headers={"Authorization": SIGNED})
    try:
        with urllib.request.urlopen(request, timeout=30):
            return True
    except urllib.error.HTTPError:
        raise
    except OSError:
        return False
