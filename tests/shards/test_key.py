"""What names a sample. docs/contract.md, rule 3.

PYTHONPATH=. python -m pytest tests/shards/test_key.py
"""

import hashlib
import itertools

from onegen.sample import Panel, SourceImage
from onegen.shards.key import DIGITS, member_digest, sample_key

A, B = "a" * 64, "b" * 64


def test_an_image_is_named_by_its_bytes():
    digest = member_digest(SourceImage(b"bytes", caption="said", licence="CC0-1.0"))
    assert digest == hashlib.sha256(b"bytes").hexdigest()
    assert sample_key("image", [digest]) == digest[:DIGITS]


def test_panels_of_one_file_are_images_of_their_own():
    panels = [None, Panel(0, 2), Panel(1, 2), Panel(0, 2, 8), Panel(0, 3)]
    digests = [member_digest(SourceImage(b"bytes", panel=panel)) for panel in panels]
    assert len(set(digests)) == len(panels)


def test_a_pair_is_named_by_its_images_their_order_and_its_words():
    keys = [
        sample_key("pair", members, instruction)
        for members, instruction in itertools.product(
            ([A, B], [B, A], [A, A], [A]), ("turn it blue", "turn it red", None)
        )
    ]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == DIGITS and set(key) <= set("0123456789abcdef") for key in keys)
    assert sample_key("pair", [A, B], subject="cup") == sample_key("pair", [A, B], "cup")
    assert sample_key("identity", [A, B]) != sample_key("pair", [A, B])


def test_keys_stay_what_they_are():
    # Written down once: datasets on disk are named so.
    assert sample_key("pair", [A, B], "turn it blue") == "afe18c6967e43f571396"
