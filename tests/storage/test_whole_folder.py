"""A folder under its name whole or not at all.

PYTHONPATH=. python -m pytest tests/storage/test_whole_folder.py
"""

import os
import subprocess
import sys

import pytest

from onegen.errors import ConfigError
from onegen.storage.whole import whole_folder

KILLED = """
import os, signal, sys
from pathlib import Path
from onegen.storage.whole import whole_folder
with whole_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_appears_when_the_block_ends_and_not_before(tmp_path):
    with whole_folder(tmp_path / "new" / "made") as folder:
        (folder / "a").write_text("a")
        assert not (tmp_path / "new" / "made").exists()
    assert os.listdir(tmp_path / "new") == ["made"]
    assert (tmp_path / "new" / "made" / "a").read_text() == "a"


def test_what_raises_leaves_nothing(tmp_path):
    def interrupted():
        with whole_folder(tmp_path / "made") as folder:
            (folder / "a").write_text("a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(ConfigError, match="No space left"), whole_folder(tmp_path / "made"):
        raise OSError(28, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_a_killed_process_leaves_no_folder_of_that_name_and_the_next_clears_up(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "made")], check=False)
    assert done.returncode == -9
    assert os.listdir(tmp_path) == [".part-made"]
    with whole_folder(tmp_path / "made") as folder:
        assert os.listdir(folder) == []
    assert os.listdir(tmp_path) == ["made"]


def test_a_name_that_is_there_and_one_that_is_being_made_are_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("mine")
    for name in ("link", "file"):
        with pytest.raises(ConfigError, match="which is there"), whole_folder(tmp_path / name):
            pass
    with whole_folder(tmp_path / "made") as folder:
        (folder / "a").write_text("a")
        with pytest.raises(ConfigError, match="another makes"), whole_folder(tmp_path / "made"):
            pass
        assert os.listdir(folder) == ["a"]
    assert (tmp_path / "file").read_text() == "mine"
