"""Long trajectories: anchors first, then threes between them, every frame once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from onegen.errors import ConfigError
from onegen.geometry.cameras import orbit
from onegen.sampler.options import SamplingOptions
from onegen.sampler.trajectory import Batch, plan_trajectory, sample_trajectory


def test_the_plan_of_the_paper():
    plan = plan_trajectory(80)
    assert plan[0] == Batch((0,), (26, 53, 79))  # three anchors from the input alone
    assert plan[1] == Batch((0, 26), (1, 2, 3))
    assert plan[-1].generated[-1] == 78
    assert len(plan) == 1 + 26  # 76 frames in threes, the last batch has one


def test_the_anchor_is_the_nearest_one():
    plan = {batch.generated: batch.given for batch in plan_trajectory(10)}
    assert plan == {(3, 6, 9): (0,), (1, 2, 4): (0, 3), (5, 7, 8): (0, 6)}


@given(st.integers(2, 200), st.integers(1, 8), st.integers(1, 6))
def test_every_frame_is_generated_once_and_only_from_what_is_there(num_frames, num_anchors, batch_size):
    there = {0}
    for index, batch in enumerate(plan_trajectory(num_frames, num_anchors, batch_size)):
        assert set(batch.given) <= there
        assert not set(batch.generated) & there
        assert index == 0 or len(batch.generated) <= batch_size
        there |= set(batch.generated)
    assert there == set(range(num_frames))


@pytest.mark.parametrize("numbers", [(1, 3, 3), (5, 0, 3), (5, 3, 0)])
def test_plans_without_sense_are_refused(numbers):
    with pytest.raises(ConfigError, match="at least 2 frames"):
        plan_trajectory(*numbers)


class Drawing:
    """A pipeline that paints the number of the call."""

    def __init__(self):
        self.calls = []

    def __call__(self, task, views, prompt, negative_prompt, **options):
        self.calls.append((task, views, prompt, options))
        self.images = [Image.new("RGB", (16, 16), (len(self.calls), 0, 0)) for view in views[::2] if view is None]
        return self


def red(image):
    return image.getpixel((0, 0))[0]


def test_calls_condition_on_the_input_and_the_nearest_anchor():
    rig = [orbit(angle) for angle in range(8)]
    pipe, image = Drawing(), Image.new("RGB", (40, 20), (99, 0, 0))
    frames = sample_trajectory(pipe, rig, image, "a boat", options=SamplingOptions(num_inference_steps=7))
    anchors, first, *_ = pipe.calls
    assert anchors[1] == [image, rig[0], None, rig[2], None, rig[5], None, rig[7]]
    # frames 1, 3 and 4 lie around 2.67, nearest to anchor 2
    assert first[1] == [image, rig[0], frames[2], rig[2], None, rig[1], None, rig[3], None, rig[4]]
    assert first[3]["num_inference_steps"] == 7
    assert {call[0] for call in pipe.calls} == {"multiview"}
    assert [red(frame) for frame in frames] == [99, 2, 1, 2, 2, 1, 3, 1]
    assert frames[0].size == (16, 16)  # the input as the network saw it


def test_without_an_input_the_first_frame_is_an_anchor_too():
    rig = [orbit(angle) for angle in range(5)]
    pipe = Drawing()
    frames = sample_trajectory(pipe, rig, None, "a boat")
    assert pipe.calls[0][1][:2] == [None, rig[0]]
    assert [red(frame) for frame in frames] == [1, 1, 2, 1, 1]


@pytest.mark.torch
def test_a_real_pipeline_draws_one(pipe, photos):
    rig = [orbit(angle) for angle in range(0, 60, 10)]
    frames = sample_trajectory(
        pipe, rig, photos[0], options=SamplingOptions(height=32, width=32, num_inference_steps=1)
    )
    assert [frame.size for frame in frames] == [(32, 32)] * 6
