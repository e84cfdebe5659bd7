"""What the numbers of a call may be; asked by the command line before a model is loaded, and by the pipeline."""

import math

from onegen.errors import ConfigError
from onegen.pixels.sizes import check_size


def check_numbers(
    size: tuple[int | None, int | None],
    counts: tuple[int | None, int],
    guidance_scale: float | None,
    noise_scale: float,
    rope_scale: tuple[float, float],
) -> None:
    """Raise ConfigError for numbers that no drawing can follow; None stands for a default.

    `size` is (height, width) in pixels, given together and divisible by 16; `counts` are the steps and the images per
    prompt, at least 1; guidance, noise scale and `rope_scale` (factor, watershed) are finite and above 0.
    """
    height, width = size
    if (height is None) is not (width is None):
        raise ConfigError("height and width must be given together, got one of them.")
    if height is not None and width is not None:
        check_size(height, width)
    for name, count in zip(("number of steps", "num_images_per_prompt"), counts, strict=True):
        if count is not None and count < 1:
            raise ConfigError(f"{name} must be at least 1, got {count}.")
    for name, number, way_out in (
        ("guidance_scale", guidance_scale, "1.0 is without guidance, 4.0 the usual."),
        ("noise_scale", noise_scale, "1.0 changes nothing."),
        ("rope_scale_factor", rope_scale[0], "1.0 changes nothing."),
        ("rope_scale_watershed", rope_scale[1], "100 to 400 go with a factor, 1.0 changes nothing."),
    ):
        if number is not None and not (math.isfinite(number) and number > 0):
            raise ConfigError(f"{name} must be finite and above 0, got {number}. {way_out}")
