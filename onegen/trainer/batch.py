"""What one forward pass sees: noisy views of some examples, packed, and what is to be predicted of them.

Noise, noise levels and which conditions are clean are drawn from each example's own seed, so that they depend neither
on its neighbours nor on the rank or the step it falls into.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from onegen.config.training import NoiseConfig
from onegen.flow.path import draw_noise_like, draw_sigmas, interpolate, velocity
from onegen.loader.example import Example
from onegen.model.packing import Layout, PackedViews, pack
from onegen.tasks.table import TASKS
from onegen.trainer.encoding import Encoders

PATCH = 2
"""Side of a token in latent pixels."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Some examples on a device.

    `views` are the noisy tokens, `target` (L,D) the velocity; `sigma` (V,) float32 the noise level that the network is
    told of each view and `weight` (V,) 1 where it bears loss; text is `states` (S,M,Y) and `mask` (S,M). `examples` are
    what it is made of.
    """

    views: PackedViews
    target: torch.Tensor
    sigma: torch.Tensor
    weight: torch.Tensor
    states: torch.Tensor
    mask: torch.Tensor
    examples: tuple[Example, ...]

    @property
    def layout(self) -> Layout:
        """Where the tokens sit."""
        return self.views.layout

    @property
    def num_weighted(self) -> int:
        """Tokens that bear loss."""
        lengths = torch.tensor(self.layout.view_lengths)
        return int((lengths * self.weight.cpu()).sum())


def generator_of(example: Example) -> torch.Generator:
    """Return the example's own source of chance."""
    return torch.Generator().manual_seed(example.seed)


def make_batch(
    examples: Sequence[Example],
    encoders: Encoders,
    noise: NoiseConfig,
    sigmas: Sequence[float] | None = None,
) -> Batch:
    """Return the batch of examples, as training draws their noise levels.

    `sigmas`, one an example, fixes the level of all its views (validation): all bear loss, prompts keep their words.
    """
    data: list[list[torch.Tensor]] = []
    noises: list[list[torch.Tensor]] = []
    levels: list[torch.Tensor] = []
    amounts: list[torch.Tensor] = []
    weights: list[torch.Tensor] = []
    prompts: list[str] = []
    for index, example in enumerate(examples):
        generator = generator_of(example)
        latents = encoders.latents(example, generator)
        drawn = draw_noise(example, noise, generator)
        prompts.append(drawn.prompt if sigmas is None else example.prompt)
        levels.append(drawn.sigma if sigmas is None else torch.full((len(latents),), sigmas[index]))
        amounts.append(drawn.amount if sigmas is None else levels[-1])
        weights.append(drawn.weight if sigmas is None else torch.ones(len(latents)))
        data.append(latents)
        noises.append([draw_noise_like(latent, generator) for latent in latents])
    clean, eps = pack(data, PATCH), pack(noises, PATCH)
    amount = torch.cat(amounts).to(encoders.device)
    per_token = amount[clean.layout.view_of_token][:, None]
    states, mask = encoders.text(prompts)
    return Batch(
        views=PackedViews(interpolate(clean.tokens, eps.tokens, per_token), clean.layout),
        target=velocity(clean.tokens, eps.tokens),
        sigma=torch.cat(levels).to(encoders.device),
        weight=torch.cat(weights).to(encoders.device),
        states=states,
        mask=mask,
        examples=tuple(examples),
    )


@dataclass(frozen=True, eq=False)
class NoiseDraw:
    """What is drawn of an example: three of (views,) float32, and its prompt, perhaps without words.

    `sigma` is the noise level that the network is told, `amount` the noise there is, less only where a view is given;
    `weight` is 1 where a view bears loss.
    """

    sigma: torch.Tensor
    amount: torch.Tensor
    weight: torch.Tensor
    prompt: str


def draw_noise(example: Example, config: NoiseConfig, generator: torch.Generator) -> NoiseDraw:
    """Return the noise levels of an example's views, as the paper draws them but for the share of clean conditions.

    Those are as the sampler gives them: without noise, and told the level of its last step, which depends on how many
    steps it takes (docs/onediffusion.md); so any up to `clean_sigma` is drawn.
    """
    count = len(example.views)
    sigma = draw_sigmas(count, generator, density=config.density, mean=config.mean, std=config.std, shift=config.shift)
    weight = torch.ones(count)
    chances = torch.rand(4, generator=generator)
    given = conditions_of(example, float(chances[1]), config.images)
    if count == 1 or not any(given) or float(chances[0]) >= config.clean:
        return NoiseDraw(sigma, sigma, weight, example.prompt)
    is_given = torch.tensor(given)
    amount = torch.where(is_given, 0.0, sigma)
    sigma = torch.where(is_given, chances[2] * config.clean_sigma, sigma)
    task = TASKS[example.task]
    is_image_given = any(role == "image" and own for role, own in zip(example.roles, given, strict=True))
    drops = is_image_given and not task.numbered and float(chances[3]) < config.wordless
    return NoiseDraw(sigma, amount, 1.0 - is_given.float(), task.token if drops else example.prompt)


def conditions_of(example: Example, chance: float, images: float | None = None) -> list[bool]:
    """Return which views are given when one role of the task is generated; `chance` in [0, 1) chooses the role.

    `images` is the share of the image among several; without it all are alike. Of several images of a scene the first
    is given: it says what is seen, and the rays of the others from where.
    """
    task = TASKS[example.task]
    roles = [role for role in task.generated if role in example.roles]
    role = _drawn(roles, chance, images if "image" in roles and len(roles) > 1 else None)
    wanted = [own == role for own in example.roles]
    if role == "image" and sum(wanted) > 1:
        first = wanted.index(True)
        wanted = [index != first and own for index, own in enumerate(wanted)]
    return [not own for own in wanted]


def _drawn(roles: list[str], chance: float, images: float | None) -> str:
    if images is None:
        return roles[int(chance * len(roles))]
    if chance < images:
        return "image"
    others = [role for role in roles if role != "image"]
    return others[int((chance - images) / (1 - images) * len(others))]
