"""Debian's Chromium, driven over a pipe by its DevTools protocol, without a network: what a person does at a page.

Nothing but the standard library; https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium; .ci/run installs it")
NO_NETWORK = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--no-default-browser-check", 
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
_KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, ""), "ArrowLeft": (37, ""), "ArrowUp": (38, ""),
         "ArrowRight": (39, ""), "ArrowDown": (40, ""), "Home": (36, ""), "End": (35, "")}  # fmt: skip


class Page:
    """One tab: `complaints` are what the page wrote to its console or threw, `requests` the addresses it asked for."""

    def __init__(self, command: int, answer: int) -> None:
        self._command, self._answer, self._rest, self._number = command, answer, b"", 0
        self._session: str | None = None
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Do one command of the protocol and return its answer; what happens meanwhile is noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._command, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, told
                return told["result"]
            self._note(told)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            data = os.read(self._answer, 1 << 20)
            assert data, "chromium is gone"
            self._rest += data
        line, self._rest = self._rest.split(b"\0", 1)
        return json.loads(line)

    def _note(self, event: dict[str, Any]) -> None:
        told = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif event.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.complaints.append(json.dumps(told)[:600])

    def open(self, url: str, until: str) -> None:
        """Go to an address and wait until an expression is true there."""
        self.call("Page.navigate", url=url)
        self.wait(until)

    def ask(self, expression: str) -> Any:
        """Return the value of an expression of the page."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait(self, expression: str) -> None:
        """Return once an expression is true; after a minute that fails, with what the page complained of."""
        is_true = self.ask(f"""new Promise((done) => {{
            const end = Date.now() + 60000;
            const look = () => {{
                let is = false;
                try {{ is = Boolean({expression}); }} catch {{}}
                if (is || Date.now() > end) done(is); else setTimeout(look, 20);
            }};
            look(); }})""")
        assert is_true, (expression, self.complaints)

    def press(self, *keys: str) -> None:
        """Press and release keys, by their names or letters."""
        for key in keys:
            code, text = _KEYS.get(key, (ord(key.upper()[0]), key))
            own = {"key": key, "windowsVirtualKeyCode": code, "text": text}
            self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **own)
            self.call("Input.dispatchKeyEvent", type="keyUp", **own)

    def type(self, text: str) -> None:
        """Type text where the focus is."""
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click the middle of an element."""
        x, y = self.ask(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); "
            f"e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect(); "
            f"return [b.x + b.width / 2, b.y + b.height / 2]; }})()"
        )
        self.click_at(x, y)

    def click_at(self, x: float, y: float) -> None:
        """Click a point of the window."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def focused(self) -> str:
        """Return what has the focus: the name of its element and its id."""
        return self.ask("document.activeElement.tagName.toLowerCase() + '#' + document.activeElement.id")

    def look(self, path: Path, is_dark: bool = False, is_whole: bool = False) -> None:
        """Save a picture of the window, or of the whole page."""
        self.theme(is_dark)
        told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=is_whole)
        path.write_bytes(base64.b64decode(told["data"]))

    def theme(self, is_dark: bool) -> None:
        """Show the page as a reader with dark or light windows sees it."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)


@contextlib.contextmanager
def browser() -> Iterator[Page]:
    """Give a tab of a Chromium of its own, 1280 by 900, and end it afterwards."""
    with tempfile.TemporaryDirectory(prefix="onegen-chromium-", ignore_cleanup_errors=True) as profile:
        read_command, command = os.pipe()
        answer, write_answer = os.pipe()
        # The protocol's pipe is 3 and 4 in the browser.
        script = f'exec 3<&{read_command} 4>&{write_answer}; exec "$0" "$@"'
        process = subprocess.Popen(
            ["bash", "-c", script, str(CHROMIUM), *NO_NETWORK, "--remote-debugging-pipe", "--window-size=1280,900",
             f"--user-data-dir={profile}"],
            pass_fds=(read_command, write_answer), stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(read_command)
        os.close(write_answer)
        try:
            yield Page(command, answer)
        finally:
            os.close(command)
            os.close(answer)
            process.kill()
            process.wait()
