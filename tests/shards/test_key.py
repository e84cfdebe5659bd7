"""What names a sample. docs/contract.md, rule 3.

PYTHONPATH=. python -m pytest tests/shards/test_key.py
"""

import hashlib
import itertools

from onegen.sample import Panel, SourceImage
from onegen.shards.key import DIGITS, SEED_RULE, member_digest, sample_key, seed_of

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


def test_seeds_follow_the_rule_that_manifests_state():
    assert SEED_RULE.startswith("first 8 bytes, big endian, of SHA-256 over the canonical JSON of [key, name, version]")
    digest = hashlib.sha256(b'["3f9a","entities",2]').digest()
    assert seed_of("3f9a", "entities", 2) == int.from_bytes(digest[:8], "big") == 1098514009579800064


def test_no_two_keys_names_or_versions_draw_alike():
    seeds = {
        seed_of(key, name, version)
        for key, name, version in itertools.product((A[:20], B[:20], ""), ("blurred", "masked"), (1, 2, 12))
    }
    assert len(seeds) == 18
    assert all(0 <= seed < 2**64 for seed in seeds)
