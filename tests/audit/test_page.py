"""The report in a browser without a network: every plot drawn, nothing fetched, nothing complained of.

PYTHONPATH=. python -m pytest tests/audit/test_page.py
"""

import json
import re
import subprocess
from pathlib import Path

import pytest

from onegen.audit.report import audit
from tests.chromium import CHROMIUM, NO_NETWORK, browser, needs_chromium
from tests.tiny import dataset

WITNESS = b"""<script>setTimeout(() => {
  document.body.dataset.fetched = performance.getEntriesByType("resource").length;
}, 5000);</script>"""


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_plot_is_drawn_and_nothing_is_fetched(audited: Path, tmp_path: Path, theme: str) -> None:
    _, _, written = audit(dataset(audited))
    page = tmp_path / "index.html"
    page.write_bytes(written["index.html"] + WITNESS)
    figures = json.loads(re.findall(r'id="figures">(.*?)</script>', page.read_text())[0])
    done = subprocess.run(
        [
            str(CHROMIUM), *NO_NETWORK, *(["--force-dark-mode"] if theme == "dark" else []),
            "--enable-logging=stderr", "--v=0", f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=20000", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    assert f'data-drawn="{len(figures)}"' in done.stdout
    assert len(re.findall(r'class="[^"]*js-plotly-plot', done.stdout)) == len(figures) > 5
    # The browser itself calls home, in vain; what the page asked for, it says.
    assert 'data-fetched="0"' in done.stdout
    ink = {"light": "29, 29, 31", "dark": "236, 236, 240"}[theme]
    assert f"fill: rgb({ink})" in done.stdout


@pytest.mark.slow
@needs_chromium
def test_it_is_read_by_keyboard_and_by_screen_readers(audited: Path, tmp_path: Path) -> None:
    _, _, written = audit(dataset(audited))
    (tmp_path / "index.html").write_bytes(written["index.html"])
    with browser() as page:
        page.open((tmp_path / "index.html").as_uri(), "document.body.dataset.drawn")
        # The skip link comes first, then the sections in order.
        page.press("Tab")
        assert page.ask("document.activeElement.className") == "skip"
        targets = []
        for _ in range(6):
            page.press("Tab")
            targets.append(page.ask("document.activeElement.getAttribute('href')"))
        parts = ("overview", "distributions", "near-duplicates", "integrity", "gallery", "rights")
        assert targets == [f"#{name}" for name in parts]
        page.press("Enter")
        page.wait("location.hash === '#rights'")
        # What draws says what it shows, and numbers stand beside it.
        silent = (
            "[...document.querySelectorAll('.plot')].filter((e) => !e.ariaLabel || e.getAttribute('role') !== 'img')"
        )
        assert page.ask(f"{silent}.length") == 0
        assert page.ask("[...document.images].filter((e) => !e.alt).length") == 0
        assert page.ask("[...document.querySelectorAll('table')].filter((e) => !e.caption.textContent).length") == 0
        # A table is sorted by a key, and back.
        page.ask("document.querySelectorAll('#overview ~ .card table th button')[6].focus()")
        values = (
            "[...document.querySelector('#overview ~ .card tbody').rows].map((r) => Number(r.cells[6].dataset.value))"
        )
        found = page.ask(values)
        page.press("Enter")
        assert page.ask(values) == sorted(found)
        assert page.ask("document.activeElement.parentElement.ariaSort") == "ascending"
        page.press("Enter")
        assert page.ask(values) == sorted(found, reverse=True)
        assert page.complaints == []
        assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []


@pytest.mark.slow
@needs_chromium
def test_paper_has_no_controls_and_dark_ink(audited: Path, tmp_path: Path) -> None:
    _, _, written = audit(dataset(audited))
    (tmp_path / "index.html").write_bytes(written["index.html"])
    with browser() as page:
        page.open((tmp_path / "index.html").as_uri(), "document.body.dataset.drawn")
        page.call(
            "Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}]
        )
        assert page.ask("getComputedStyle(document.querySelector('nav')).display") == "none"
        assert page.ask("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        assert page.ask("getComputedStyle(document.querySelector('.card')).backgroundColor") == "rgb(255, 255, 255)"
        assert len(page.call("Page.printToPDF")["data"]) > 10000
