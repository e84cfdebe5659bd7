"""The report in a browser without a network: every plot drawn, nothing fetched, nothing complained of.

PYTHONPATH=. python -m pytest tests/audit/test_page.py
"""

import json
import re
import subprocess
from pathlib import Path

import pytest

from onegen.audit.report import audit
from tests.chromium import CHROMIUM, NO_NETWORK, needs_chromium
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
