import hashlib
import json
from collections import Counter

from onegen.eval.geneval.prompts import CLASSES, SHA256, prompt_file, prompts


def test_the_prompts_are_the_published_file_byte_for_byte():
    data = prompt_file()
    assert len(data) == 85_209
    assert hashlib.sha256(data).hexdigest() == SHA256
    assert SHA256 == "5c48e0813e812e3c373fa5c8ed07a8f0a483be30272b4427b0559c8048e67c13"


def test_tasks_and_what_they_ask_are_counted_as_published():
    assert Counter(record["tag"] for record in prompts()) == {
        "single_object": 80,
        "two_object": 99,
        "counting": 80,
        "colors": 94,
        "position": 100,
        "color_attr": 100,
    }
    counts = Counter(record["include"][0]["count"] for record in prompts() if record["tag"] == "counting")
    assert counts == {2: 26, 3: 28, 4: 26}
    relations = Counter(record["include"][1]["position"][0] for record in prompts() if record["tag"] == "position")
    assert relations == {"below": 28, "right of": 27, "above": 26, "left of": 19}
    assert len(prompts()) == 553
    assert prompts()[0]["prompt"] == "a photo of a bench"


def test_a_position_names_its_target_first():
    record = next(record for record in prompts() if record["tag"] == "position")
    target, thing = record["include"]
    relation, index = thing["position"]
    assert index == 0
    assert f"{thing['class']} {relation} " in record["prompt"]
    assert record["prompt"].endswith(target["class"])


def test_renamed_classes_are_the_benchmarks():
    assert {"computer mouse", "tv remote", "computer keyboard"} < set(CLASSES)
    assert not {"mouse", "remote", "keyboard"} & set(CLASSES)
    assert json.loads(prompt_file().splitlines()[-1])["tag"] == "color_attr"
