"""How pictures are drawn for an evaluation: what its protocol says, and what a command says instead."""

from pydantic import Field

from onegen.config.parse import Config


class Sampling(Config):
    """How a protocol has pictures drawn; None leaves it to the task."""

    steps: int | None = Field(None, ge=1, description="steps of the solver")
    guidance: float | None = Field(None, gt=0, description="weight of the prompt")
    height: int | None = Field(None, ge=16, description="pixels, divisible by 16")
    width: int | None = Field(None, ge=16, description="pixels, divisible by 16")
    negative_prompt: str = Field("", description="what to steer away from")
