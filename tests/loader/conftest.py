"""One street for all tests of the loader that do not break it."""

import pytest

from tests.loader.street import pack_street, write_street


@pytest.fixture(scope="session")
def street(tmp_path_factory):
    """Return a dataset of 24 pictures in 3 shards, columns and packed view."""
    store = write_street(tmp_path_factory.mktemp("loader") / "street")
    pack_street(store)
    return store
