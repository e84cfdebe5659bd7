"""What rests on a store's own ways, on Google's: conditions by generation, parts, listings, leases, whole builds.

The tests are those of S3, on another bucket. PYTHONPATH=. python -m pytest tests/storage/test_google.py
"""

import uuid
from collections.abc import Iterator

import pytest

from onegen.storage import open_store
from tests.end_to_end.test_stores import (  # noqa: F401
    made,
    test_a_crash_at_some_changes_loses_nothing,
    test_a_source_on_a_store_makes_the_dataset_of_a_folder,
    test_folder_and_store_have_one_digest_and_the_same_packed_bytes,
    test_ray_s_actors_build_on_a_store,
)
from tests.google import URL, google
from tests.storage.test_objects import (  # noqa: F401
    test_a_large_file_goes_in_parts_and_is_there_whole,
    test_what_is_written_on_condition,
)
from tests.storage.test_remote_lease import (  # noqa: F401
    clock,
    other,
    store,
    test_a_driver_that_died_on_this_machine_is_followed_at_once,
    test_a_driver_whose_lease_was_taken_over_writes_nothing_more,
    test_a_renewal_whose_answer_was_lost_is_still_ours,
    test_a_second_driver_is_refused_and_told_who_has_it,
    test_of_two_that_follow_a_stale_lease_one_gets_it,
)


@pytest.fixture
def bucket(object_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A place of its own in a bucket of Google's that this process and its children find."""
    with google(object_server) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield f"{URL}/{uuid.uuid4().hex[:12]}"


def test_no_rights(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "of somebody else")
    with pytest.raises(PermissionError, match="the store refuses these credentials here") as refused:
        open_store(f"{bucket}/set").write("a", b"one")
    assert "somebody" not in str(refused.value)
