"""Cycle metrics: a picture that keeps to its condition is told from one that does not.

PYTHONPATH=. python -m pytest tests/trainer/test_cycle.py
"""

import numpy as np
import pytest

from onegen.loader.example import Example
from onegen.loader.seeds import part_seed
from onegen.tasks.closeness import colour_share
from onegen.tasks.conditions import condition, grey_map
from onegen.tasks.table import TASKS
from onegen.trainer.cycle import Drawn, cycle_metrics


def picture(seed: int, side: int = 64) -> np.ndarray:
    """Two rectangles on a ground: there are edges, and another seed has them elsewhere."""
    rng = np.random.default_rng(seed)
    pixels = np.full((side, side, 3), rng.integers(0, 256, 3), np.uint8)
    for _ in range(2):
        top, left = rng.integers(0, side // 2, 2)
        pixels[top : top + side // 3, left : left + side // 3] = rng.integers(0, 256, 3)
    return pixels


def example(task: str, seed: int, view: np.ndarray | None = None, side: int = 64) -> Example:
    image = picture(seed, side)
    role = TASKS[task].views[1]
    drawn = condition(role, image, {}, part_seed(seed, role)) if view is None else view
    return Example("data", f"key{seed}", task, "", ("image", role), (image, drawn), seed)


@pytest.mark.parametrize(
    ("task", "metric", "least", "is_higher"),
    [
        ("canny2image", "canny_f1", 1.0, True),
        ("image_inpainting", "psnr_outside_holes", 100.0, True),
        ("super_resolution", "psnr_reduced", 25.0, True),
        ("deblurring", "psnr_blurred_again", 100.0, True),
    ],
)
def test_the_true_picture_keeps_to_its_condition_and_to_no_other(task, metric, least, is_higher):
    examples = [example(task, seed, side=64 + 16 * (seed == 2)) for seed in range(4)]
    told = cycle_metrics([Drawn(one, "image", one.views[0]) for one in examples])
    assert set(told) == {f"cycle/{task}/{metric}", f"cycle/{task}/{metric}.shuffled"}
    assert told[f"cycle/{task}/{metric}"] >= least
    assert told[f"cycle/{task}/{metric}.shuffled"] < 0.8 * told[f"cycle/{task}/{metric}"]


def test_a_drawn_condition_is_held_against_the_true_one():
    rng = np.random.default_rng(0)
    maps = [grey_map(np.sort(rng.integers(0, 65536, (64, 64)).astype(np.uint16), axis=seed % 2)) for seed in range(4)]
    drawn = [Drawn(example("depth2image", seed, maps[seed]), "depth", 255 - maps[seed]) for seed in range(4)]
    told = cycle_metrics(drawn)
    assert told["cycle/depth2image/spearman"] == pytest.approx(-1.0)
    assert abs(told["cycle/depth2image/spearman.shuffled"]) < 0.2


def test_one_picture_has_no_other_and_words_alone_no_condition():
    one = example("canny2image", 1)
    assert cycle_metrics([Drawn(one, "image", one.views[0])]) == {}
    words = [Example("data", f"{n}", "text2image", "", ("image",), (picture(n),), n) for n in range(2)]
    assert cycle_metrics([Drawn(own, "image", own.views[0]) for own in words]) == {}


def test_colours_are_counted_where_the_wanted_map_has_some():
    wanted = np.zeros((2, 4, 3), np.uint8)
    wanted[0], wanted[1, :2] = (255, 0, 0), (0, 0, 255)
    drawn = wanted.astype(int)
    drawn[0, 0] = (0, 30, 200)
    drawn[1, 0] = (20, 20, 20)
    drawn[0, 1] = (200, 90, 90)
    drawn[1, 3] = (255, 0, 0)
    assert colour_share(drawn.astype(np.uint8), wanted) == pytest.approx(4 / 6)
    assert colour_share(drawn.astype(np.uint8), np.zeros_like(wanted)) is None
