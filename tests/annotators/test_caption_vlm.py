"""Captions by transformers' own LLaVA-NeXT, tiny, made to say one sentence: whole, cut off, and asked for twice."""

import numpy as np
import pytest

from onegen.annotators.caption import PROMPTS
from onegen.annotators.caption.vlm import SpokenCaption
from onegen.annotators.shared.caption_faults import WARMER
from onegen.errors import ConfigError, SampleError
from onegen.sample import Annotation, Item
from tests.checkpoints import SENTENCE, checkpoint

pytestmark = pytest.mark.torch


def items(count: int) -> list[Item]:
    rng = np.random.default_rng(0)
    return [
        Item(f"{n:020x}", rng.integers(0, 256, (30 + n, 40, 3), dtype=np.uint8), "as it came") for n in range(count)
    ]


def make(**options: object) -> SpokenCaption:
    return SpokenCaption(model=str(checkpoint("caption", "vlm")), **options)  # type: ignore[arg-type]


def test_it_says_what_the_model_says():
    annotator = make()
    annotator.load()
    expected = " ".join(SENTENCE)
    for answer in annotator.annotate(items(3)):
        assert isinstance(answer, Annotation)
        assert answer.values["caption"] == expected
        assert (answer.values["num_words"], answer.values["original"]) == (len(SENTENCE), "as it came")
        assert answer.values["captioner"].endswith("tiny-vlm")


def test_a_caption_cut_off_twice_fails():
    annotator = make(max_tokens=5)
    (item,) = items(1)
    (said,) = annotator.infer([annotator.prepare(item)])
    assert said[1] == "cut_caption"
    with pytest.raises(SampleError, match="said twice: 'a photo of two people") as caught:
        annotator.finish(item, said)
    assert caught.value.reason == "cut_caption"


def test_a_bad_caption_is_asked_for_again_warmer_and_alone(monkeypatch):
    asked: list[tuple[int, float, int]] = []

    def ask(self, pictures, prompt, temperature=0.0, seed=0):
        asked.append((len(pictures), temperature, seed))
        assert prompt == PROMPTS["short"]
        if temperature:
            return [("A second answer, and a good one.", False)]
        return [("I'm sorry, I can't describe this.", False), ("A first answer.", False)]

    monkeypatch.setattr(SpokenCaption, "ask", ask)
    annotator = make(prompt="short")
    prepared = [annotator.prepare(item) for item in items(2)]
    assert annotator.infer(prepared) == [("A second answer, and a good one.", None), ("A first answer.", None)]
    assert asked == [(2, 0.0, 0), (1, WARMER, prepared[0][1])]


def test_a_warm_answer_is_the_same_for_the_same_seed():
    annotator = make(max_tokens=12)
    picture, seed = annotator.prepare(items(1)[0])
    assert annotator.ask([picture], "say", 5.0, seed) == annotator.ask([picture], "say", 5.0, seed)


def test_a_model_without_a_chat_template_is_refused(tmp_path):
    import shutil

    shutil.copytree(checkpoint("caption", "vlm"), tmp_path / "mute")
    (tmp_path / "mute" / "chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match="must have a chat template"):
        SpokenCaption(model=str(tmp_path / "mute")).load()


def test_options_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="max_side of caption must be at least 28, got 5"):
        make(max_side=5)
