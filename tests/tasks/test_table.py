"""The task table: golden prompts, masks per direction, and what is refused."""

import colorsys
import subprocess
import sys
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onegen.errors import ConfigError
from onegen.tasks.colours import COLOURS, Entity, assign_colours
from onegen.tasks.prompt import NEGATIVE_PROMPT, Prompt, complete_prompt
from onegen.tasks.table import TASKS, check_mask, find_task, find_tasks, view_roles

CAT = (Entity("cat", "red"), Entity("sofa", "teal"))

GOLDEN = {
    "[[text2image]] A bay at dawn.": Prompt(("text2image",), ("A bay at dawn.",)),
    "[[deblurring]] A bay.": Prompt(("deblurring",), ("A bay.",)),
    "[[image_inpainting]]": Prompt(("image_inpainting",)),
    "[[super_resolution]]": Prompt(("super_resolution",)),
    "[[canny2image]] A bay.": Prompt(("canny2image",), ("A bay.",)),
    "[[depth2image]] A bay.": Prompt(("depth2image",), ("A bay.",)),
    "[[hed2img]] A bay.": Prompt(("hed2img",), ("A bay.",)),
    "[[pose2image]] A dancer.": Prompt(("pose2image",), ("A dancer.",)),
    "[[semanticmap2image]] <#FF0000 red mask: cat> <#008080 teal mask: sofa> A cat naps.": Prompt(
        ("semanticmap2image",), ("A cat naps.",), CAT
    ),
    "[[boundingbox2image]] <#FF0000 red boundingbox: cat> <#008080 teal boundingbox: sofa> A cat naps.": Prompt(
        ("boundingbox2image",), ("A cat naps.",), CAT
    ),
    "[[image_editing]] make it snow": Prompt(("image_editing",), ("make it snow",)),
    "[[faceid]] [[img0]] a man sails [[img1]] a man smiles [[img2]] a man reads": Prompt(
        ("faceid",), ("a man sails", "a man smiles", "a man reads")
    ),
    "[[multiview]] a wooden boat": Prompt(("multiview",), ("a wooden boat",)),
    "[[multiview]]": Prompt(("multiview",)),
    "[[subject_driven]] <item: mug> [[img0]] a mug on snow [[img1]] a mug on a desk": Prompt(
        ("subject_driven",), ("a mug on snow", "a mug on a desk"), item="mug"
    ),
    "[[image_inpainting]] [[faceid]] [[img0]] a man sails [[img1]] a man sails [[img2]] a man reads": Prompt(
        ("image_inpainting", "faceid"), ("a man sails", "a man sails", "a man reads")
    ),
    "[[pose2image]] [[semanticmap2image]] <#FF0000 red mask: cat> a cat dances": Prompt(
        ("pose2image", "semanticmap2image"), ("a cat dances",), CAT[:1]
    ),
}


@pytest.mark.parametrize("text", GOLDEN, ids=lambda text: text[:40])
def test_a_prompt_is_written_and_read_as_the_released_model_expects(text):
    assert str(GOLDEN[text]) == text
    assert Prompt.parse(text) == GOLDEN[text]


def test_every_task_has_a_golden_prompt():
    assert {name for prompt in GOLDEN.values() for name in prompt.tasks} == set(TASKS)


def test_the_table_of_views_and_masks():
    assert [task.token for task in TASKS.values()] == [
        "[[text2image]]",
        "[[deblurring]]",
        "[[image_inpainting]]",
        "[[super_resolution]]",
        "[[canny2image]]",
        "[[depth2image]]",
        "[[hed2img]]",
        "[[pose2image]]",
        "[[semanticmap2image]]",
        "[[boundingbox2image]]",
        "[[image_editing]]",
        "[[faceid]]",
        "[[subject_driven]]",
        "[[multiview]]",
    ]
    depth = TASKS["depth2image"]
    assert depth.mask("image") == (1, 0)
    assert depth.mask("depth") == (0, 1)
    assert depth.mask("image", "depth") == (1, 1)
    assert TASKS["multiview"].mask("ray") == (0, 1)


@pytest.mark.parametrize(
    ("name", "mask", "roles"),
    [
        ("text2image", [1], ("image",)),
        ("hed2img", [1, 0], ("image", "hed")),
        ("semanticmap2image", [0, 1], ("image", "semantic_map")),
        ("faceid", [1, 0], ("image", "reference")),
        ("faceid", [1, 0, 0, 0, 0], ("image", *["reference"] * 4)),
        ("subject_driven", [1, 0], ("image", "source")),
        ("multiview", [0, 0, 1, 0, 1, 0, 1, 0], ("image", "ray") * 4),
        ("multiview", [0, 1, 0, 1], ("image", "ray") * 2),
        ("image_inpainting+faceid", [1, 0, 0, 0], ("image", "masked", "reference", "reference")),
        ("faceid+image_inpainting", [1, 0, 0, 0], ("image", "reference", "reference", "masked")),
    ],
)
def test_masks_that_are_allowed(name, mask, roles):
    assert check_mask(find_tasks(name), mask) == roles


@pytest.mark.parametrize(
    ("name", "mask", "says"),
    [
        ("text2image", [1, 0], "must be 1"),
        ("depth2image", [1], r"must be 2 \(image, depth\), got 1"),
        ("depth2image", [0, 0], "leave one to generate"),
        ("deblurring", [0, 1], r"view 1 of 'deblurring' \(blurred\) must be given"),
        ("faceid", [1, 0, 0, 0, 0, 0], "must be 2 to 5"),
        ("faceid", [1, 1], "must be given"),
        ("multiview", [0, 1, 0], "pairs of an image and a camera"),
        ("image_inpainting+faceid", [1, 0], "must be 3 to 6"),
    ],
)
def test_masks_that_are_refused(name, mask, says):
    with pytest.raises(ConfigError, match=says):
        check_mask(find_tasks(name), mask)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("depth2img", "did you mean 'depth2image'"),
        ("Text2image", "did you mean 'text2image'"),
        ("inpainting", "did you mean 'image_inpainting'"),
        ("hed2image", "did you mean"),
        ("", "choose from"),
    ],
)
def test_a_wrong_task_names_the_nearest(name, says):
    with pytest.raises(ConfigError, match=says):
        find_task(name)


@pytest.mark.parametrize("names", ["depth2image+depth2image", "text2image+faceid", "multiview+faceid", []])
def test_combinations_that_make_no_sense_are_refused(names):
    with pytest.raises(ConfigError, match="combination"):
        find_tasks(names)


def test_there_are_twenty_different_saturated_colours():
    assert len(COLOURS) == len(set(COLOURS.values())) == 20
    for code in COLOURS.values():
        red, green, blue = (int(code[i : i + 2], 16) / 255 for i in (0, 2, 4))
        assert code == code.upper()
        assert colorsys.rgb_to_hsv(red, green, blue)[2] >= 0.3  # nothing that vanishes on the black background


def test_both_spellings_of_a_colour_are_read():
    gradio = "[[semanticmap2image]] <#00ffff Cyan mask: mouse> a mouse"
    assert str(Prompt.parse(gradio)) == "[[semanticmap2image]] <#00FFFF cyan mask: mouse> a mouse"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a cat", "must open with a task token"),
        ("[[depth2img]] a cat", "did you mean 'depth2image'"),
        ("[[semanticmap2image]] <#FF0001 crimson mask: cat> x", "colour must be one of the 20"),
        ("[[semanticmap2image]] <#ff0000 yellow mask: cat> x", "'yellow' must have the hex #FFFF00"),
        ("[[semanticmap2image]] <#FF0000 red boundingbox: cat> x", "must not be a boundingbox"),
        ("[[depth2image]] <#FF0000 red mask: cat> x", "must not be a mask"),
        ("[[semanticmap2image]] <#F00 red mask: cat> x", "caption must be plain text"),
        ("[[faceid]] a man", "must caption each view"),
        ("[[faceid]] [[img1]] a man [[img0]] a man", "must caption each view"),
        ("[[faceid]] [[img0]] only the target", "must be 2 to 5"),
        ("[[depth2image]] <item: mug> x", "item must go with subject_driven"),
        ("[[depth2image]] a cat [[img1]] a dog", "caption must be plain text"),
    ],
)
def test_prompts_that_are_refused(text, says):
    with pytest.raises(ConfigError, match=says):
        Prompt.parse(text)


def test_an_entity_needs_a_colour_of_the_table():
    with pytest.raises(ConfigError, match="did you mean 'magenta'"):
        Entity("cat", "magentas")
    with pytest.raises(ConfigError, match="must be spelt 'red'"):
        Entity("cat", "#FF0000")


def test_colours_are_drawn_once_per_label_by_the_seed_alone():
    entities = assign_colours(["cat", "dog", "cat"], seed=7)
    assert [entity.label for entity in entities] == ["cat", "dog"]
    assert entities == assign_colours(["cat", "dog"], seed=7)
    assert len({entity.colour for entity in assign_colours([f"thing {i}" for i in range(20)], seed=1)}) == 20
    assert assign_colours(["cat"], seed=1) != assign_colours(["cat"], seed=2)
    with pytest.raises(ConfigError, match="at most 20"):
        assign_colours([f"thing {i}" for i in range(21)], seed=1)


def test_a_bare_caption_is_completed():
    assert complete_prompt(find_tasks("text2image"), "a bay", 1) == "[[text2image]] a bay"
    assert complete_prompt(find_tasks("depth2image"), "", 2) == "[[depth2image]]"
    assert complete_prompt(find_tasks("faceid"), "a man", 3) == "[[faceid]] [[img0]] a man [[img1]] [[img2]]"
    both = complete_prompt(find_tasks("image_inpainting+faceid"), "a man", 3)
    # the released model wants the masked image captioned like the target
    assert both == "[[image_inpainting]] [[faceid]] [[img0]] a man [[img1]] a man [[img2]]"


def test_the_caption_is_the_targets_and_not_the_sources():
    assert complete_prompt(find_tasks("subject_driven"), "a mug", 2) == "[[subject_driven]] [[img0]] a mug [[img1]]"


def test_a_written_prompt_is_kept_to_the_letter_but_checked():
    written = "[[semanticmap2image]] <#00ffff Cyan mask: mouse> a  mouse"
    assert complete_prompt(find_tasks("semanticmap2image"), written, 2) == written


@pytest.mark.parametrize(
    ("task", "num_views", "written", "warning"),
    [
        ("depth2image", 2, "[[semanticmap2image]] a mouse", r"got those of .*semanticmap2image"),
        ("faceid", 3, "[[faceid]] [[img0]] a [[img1]] b", "must caption its 3 views, got 2"),
        ("faceid", 2, "[[img0]] a [[img1]] b", "must open with a task token"),
        ("semanticmap2image", 2, "[[semanticmap2image]] <#FF0000 yellow mask: cup> x", "must have the hex"),
        ("text2image", 1, "[[text2img]] a bay", "did you mean 'text2image'"),
    ],
)
def test_what_the_released_pipeline_takes_is_warned_about_and_kept(task, num_views, written, warning):
    with pytest.warns(UserWarning, match=warning):
        assert complete_prompt(find_tasks(task), written, num_views) == written


def test_a_bare_caption_with_tags_is_completed_and_one_with_brackets_warned_about():
    semantic, image = find_tasks("semanticmap2image"), find_tasks("text2image")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tagged = complete_prompt(semantic, "<#FF0000 red mask: cat> a cat", 2)
    assert tagged == "[[semanticmap2image]] <#FF0000 red mask: cat> a cat"
    with pytest.warns(UserWarning, match="must be plain text"):
        assert complete_prompt(image, "a sign [[exit]]", 1) == "[[text2image]] a sign [[exit]]"


def test_a_prompt_put_together_for_another_task_is_refused():
    with pytest.raises(ConfigError, match="got those of text2image"):
        complete_prompt(find_tasks("depth2image"), Prompt(("text2image",), ("x",)), 2)
    with pytest.raises(ConfigError, match="must caption its 3 views, got 2"):
        complete_prompt(find_tasks("faceid"), Prompt(("faceid",), ("a", "b")), 3)


def test_the_default_negative_prompt_is_that_of_the_released_documents():
    words = NEGATIVE_PROMPT.split(", ")
    assert (words[0], words[-1], len(words)) == ("monochrome", "amputation", 33)


_words = st.text("abc de,.'", max_size=20).map(lambda text: " ".join(text.split()))
_labels = st.text("abcd ", min_size=1, max_size=8).map(str.strip).filter(bool)
_entities = st.lists(st.builds(Entity, _labels, st.sampled_from(list(COLOURS))), max_size=4).map(tuple)


@st.composite
def _prompts(draw):
    names = draw(
        st.sampled_from(
            [(name,) for name in TASKS] + [("image_inpainting", "faceid"), ("pose2image", "semanticmap2image")]
        )
    )
    tasks = find_tasks(names)
    count = len(view_roles(tasks, 1 + sum(len(task.views) - 1 for task in tasks)))
    numbered = any(task.numbered for task in tasks)
    captions = tuple(draw(st.lists(_words, min_size=count, max_size=count))) if numbered else (draw(_words),)
    entities = draw(_entities) if any(task.entities for task in tasks) else ()
    return Prompt(names, captions, entities, draw(_labels) if any(task.item for task in tasks) else "")


@given(_prompts())
def test_reading_undoes_writing(prompt):
    assert Prompt.parse(str(prompt)) == prompt


def test_the_table_needs_neither_torch_nor_numpy_arrays_of_it():
    code = "import sys, onegen.tasks.table; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
