"""From a command line to views and prompts, without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from onegen.errors import ConfigError
from onegen.sampler.arrange import (
    PicturePaths,
    arrange_frames,
    arrange_views,
    make_prompt,
    make_rig,
    parse_entity,
    parse_numbers,
    spread,
)
from onegen.tasks.table import find_tasks

A, B, C, D = (Path(f"{letter}.png") for letter in "abcd")


@pytest.mark.parametrize(
    ("task", "paths", "predict", "views"),
    [
        ("text2image", PicturePaths(), "", (None,)),
        ("depth2image", PicturePaths(images=(A,)), "", (A, None)),
        ("depth2image", PicturePaths(images=(A,)), "depth", (A, None)),
        ("depth2image", PicturePaths(conditions=(A,)), "image", (None, A)),
        ("depth2image", PicturePaths(), "image,depth", (None, None)),
        ("image_editing", PicturePaths(references=(A,)), "", (None, A)),
        ("image_editing", PicturePaths(conditions=(A,)), "", (None, A)),
        ("subject_driven", PicturePaths(references=(A,)), "", (None, A)),
        ("faceid", PicturePaths(references=(A, B, C)), "", (None, A, B, C)),
        ("image_inpainting+faceid", PicturePaths(conditions=(A,), references=(B, C)), "", (None, A, B, C)),
        ("faceid+image_inpainting", PicturePaths(conditions=(A,), references=(B, C)), "", (None, B, C, A)),
        ("pose2image+semanticmap2image", PicturePaths(conditions=(A, B)), "", (None, A, B)),
    ],
)
def test_pictures_find_their_views(task, paths, predict, views):
    assert arrange_views(find_tasks(task), paths, predict) == views


@pytest.mark.parametrize(
    ("task", "paths", "predict", "says"),
    [
        ("text2image", PicturePaths(images=(A,)), "image", "must name the views that are not given"),
        ("text2image", PicturePaths(conditions=(A,)), "", "--condition of 'text2image' .* got a.png too many"),
        ("depth2image", PicturePaths(), "", "images of 'depth2image' must be given for all views but one"),
        ("depth2image", PicturePaths(conditions=(A, B)), "", "got b.png too many"),
        (
            "depth2image",
            PicturePaths(images=(A,)),
            "hed",
            "--predict of 'depth2image' must be of image, depth, got 'hed'",
        ),
        ("depth2image", PicturePaths(images=(A,)), "image", r"not given \(depth\), got image"),
        ("faceid", PicturePaths(references=(A, B, C, D, A)), "", "must be 2 to 5"),
        ("faceid", PicturePaths(), "", "must be given for all views but one"),
        ("image_inpainting+faceid", PicturePaths(references=(A,)), "", "must be given for all views but one"),
        # and the message names the option that is missing
        ("text2image", PicturePaths(images=(A,)), "", "Leave --image out; a photo goes with image_editing"),
        ("depth2image", PicturePaths(images=(A,), conditions=(B,)), "", "got all of them. Leave --image or a --cond"),
        ("faceid", PicturePaths(), "", r"Add --reference FILE \(reference\)\."),
        ("faceid", PicturePaths(), "image,reference", r"Add --reference FILE"),
        ("deblurring", PicturePaths(), "", r"Add --condition FILE \(blurred\)\."),
        ("deblurring", PicturePaths(images=(A,)), "", r"got none for blurred. Add --condition FILE \(blurred\)"),
        ("image_inpainting+faceid", PicturePaths(references=(A,)), "", r"Add --condition FILE \(masked\)\."),
        (
            "depth2image",
            PicturePaths(),
            "",
            r"Add --condition FILE \(depth\) or --image FILE \(image\), or --predict depth,image\.",
        ),
    ],
)
def test_a_wrong_number_of_pictures_is_refused(task, paths, predict, says):
    with pytest.raises(ConfigError, match=says):
        arrange_views(find_tasks(task), paths, predict)


def test_prompts_are_put_together():
    faceid, semantic, subject = (find_tasks(name) for name in ("faceid", "semanticmap2image", "subject_driven"))
    assert make_prompt(faceid, "a man", [], [], "", 3) == "a man"
    assert str(make_prompt(faceid, "a man sails", ["smiles"], [], "", 3)) == (
        "[[faceid]] [[img0]] a man sails [[img1]] smiles [[img2]]"
    )
    assert str(make_prompt(semantic, "a cat", [], ["red: cat", "#00ff00: grass"], "", 2)) == (
        "[[semanticmap2image]] <#FF0000 red mask: cat> <#00FF00 lime mask: grass> a cat"
    )
    assert str(make_prompt(subject, "a mug on snow", ["a mug"], [], "mug", 2)) == (
        "[[subject_driven]] <item: mug> [[img0]] a mug on snow [[img1]] a mug"
    )
    both = find_tasks("image_inpainting+faceid")
    assert str(make_prompt(both, "a man", ["reads"], [], "", 3)) == (
        "[[image_inpainting]] [[faceid]] [[img0]] a man [[img1]] a man [[img2]] reads"
    )


@pytest.mark.parametrize(
    ("task", "arguments", "says"),
    [
        ("depth2image", ("a", ["b"], [], "", 2), "--caption must go with"),
        ("depth2image", ("a", [], ["red: cat"], "", 2), "entities must go with"),
        ("faceid", ("a", ["b", "c"], [], "", 2), "at most 1 times"),
        ("faceid", ("[[faceid]] a", ["b"], [], "", 2), "must be a bare caption"),
        ("semanticmap2image", ("a", [], ["cat"], "", 2), "'colour: label'"),
        ("semanticmap2image", ("a", [], ["mauve: cat"], "", 2), "colour must be one of the 20"),
    ],
)
def test_prompts_without_sense_are_refused(task, arguments, says):
    with pytest.raises(ConfigError, match=says):
        make_prompt(find_tasks(task), *arguments)


def test_images_are_the_first_frames():
    assert arrange_frames([A, B], 4, most=3) == (A, B, None, None)
    assert arrange_frames([], 2, most=1) == (None, None)
    with pytest.raises(ConfigError, match="of these 4 cameras must be at most 1, got 2"):
        arrange_frames([A, B], 4, most=1)


def test_numbers():
    assert parse_numbers("-45, 0,60", 0, "--azimuth") == (-45, 0, 60)
    assert parse_numbers("1.5", 3, "--distance") == (1.5, 1.5, 1.5)
    assert spread(-45, 60, 4) == (-45, -10, 25, 60)
    assert parse_entity("Red : a cat").colour == "red"
    for text in ("1,2", "one", "", "1,nan,2", "inf"):
        with pytest.raises(ConfigError, match="--distance must be"):
            parse_numbers(text, 3, "--distance")


def test_a_trajectory_goes_between_two_azimuths():
    assert len(make_rig("-45,60", "0", "1.7", 1.4, 5)) == 5
    with pytest.raises(ConfigError, match="--azimuth must be the two ends of the --trajectory, got only '30'"):
        make_rig("30", "0", "1.7", 1.4, 5)


def test_angles_that_are_no_numbers_are_refused_by_option():
    with pytest.raises(ConfigError, match="--azimuth must be finite numbers separated by commas, got '0,nan'"):
        make_rig("0,nan", "0", "1.7", 1.4, 0)
    with pytest.raises(ConfigError, match="focal length must be finite and positive"):
        make_rig("0,20", "0", "1.7", float("nan"), 0)


def test_the_command_is_imported_without_torch():
    code = "import sys, onegen.cli.sample; sys.exit(bool({'torch', 'diffusers', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
