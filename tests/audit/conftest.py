"""One dataset for all tests of what is handed on: none of them may change it."""

import pytest

from tests.handed import build


@pytest.fixture(scope="session")
def handed(tmp_path_factory):
    """The folder of a built dataset of twelve photos in three shards."""
    return build(tmp_path_factory.mktemp("handed"))
