"""The pipeline against a plain loop written from the spec, and each of the released one's faults, fixed."""

import warnings

import numpy as np
import pytest
import torch
from diffusers.hooks import apply_group_offloading, apply_layerwise_casting
from PIL import Image

from onegen.errors import ConfigError
from onegen.geometry.cameras import orbit
from onegen.geometry.rays import camera_rays, rays_to_latent
from onegen.sampler import OneDiffusionPipeline
from onegen.sampler.images import prepare
from onegen.sampler.tiny import random_pipeline
from onegen.tasks.colours import Entity
from onegen.tasks.prompt import Prompt

pytestmark = pytest.mark.torch

SMALL = {"height": 64, "width": 64, "num_inference_steps": 3}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def watch(pipe):
    """Record what the network is given at each step."""
    calls, forward = [], pipe.transformer.forward

    def spy(samples, timesteps, **options):
        calls.append({"samples": samples.clone(), "times": timesteps.clone(), **options})
        return forward(samples, timesteps, **options)

    pipe.transformer.forward = spy
    return calls


def text_states(pipe, texts):
    """The released text encoding: padded to 300, special tokens on, a mask."""
    batch = pipe.tokenizer(texts, padding="max_length", max_length=300, truncation=True, return_tensors="pt")
    return pipe.text_encoder(batch["input_ids"], batch["attention_mask"])[0].float(), batch["attention_mask"]


@torch.no_grad()
def plain_sampler(pipe, prompt, negative, mask, fixed, steps, guidance, generator):
    """Sample as docs/onediffusion.md, section 6.4 says: `fixed` maps a view to pixels (3,H,W) or latent (16,h,w)."""
    size = (16, 8, 8)
    pixels = [fixed[view] for view in sorted(fixed) if fixed[view].shape[0] == 3]
    if pixels:
        torch.randn(1, *size, generator=generator)
        posterior = pipe.vae.encode(torch.stack(pixels)).latent_dist
        drawn = iter(posterior.sample(generator) * pipe.vae.config.scaling_factor)
    latents = torch.randn(1, len(mask), *size, generator=generator)
    clean = {view: next(drawn) if fixed[view].shape[0] == 3 else fixed[view] for view in sorted(fixed)}

    tokens = sum(mask) * 16
    mu = 0.5 + (tokens - 256) * (1.15 - 0.5) / (4096 - 256)
    sigma = np.linspace(1, 1 / steps, steps).astype(np.float32)
    sigma = np.exp(mu) / (np.exp(mu) + (1 / sigma - 1))
    sigma = np.append(sigma, 0)

    states, text_mask = text_states(pipe, [negative, prompt])
    for step in range(steps):
        for view, latent in clean.items():
            latents[0, view] = latent
        times = torch.full(latents.shape, 1000 * float(sigma[step]))  # a time map, one value per latent pixel
        for view in clean:
            times[0, view] = 1000 * float(sigma[steps - 1])
        v_negative, v_positive = pipe.transformer(
            latents.repeat(2, 1, 1, 1, 1), times.repeat(2, 1, 1, 1, 1), states, text_mask
        )
        velocity = v_negative + guidance * (v_positive - v_negative)
        latents = latents + (float(sigma[step + 1]) - float(sigma[step])) * velocity
    for view, latent in clean.items():
        latents[0, view] = latent
    return latents


@pytest.mark.parametrize(
    ("task", "prompt", "written", "mask"),
    [
        ("text2image", "a bay", "[[text2image]] a bay", [1]),
        ("depth2image", "a bay", "[[depth2image]] a bay", [1, 0]),
        ("depth2image", "", "[[depth2image]]", [0, 1]),
        ("faceid", "a man", "[[faceid]] [[img0]] a man [[img1]] [[img2]]", [1, 0, 0]),
    ],
)
def test_a_sample_equals_the_plain_loop(pipe, photos, task, prompt, written, mask):
    views = [None if new else photos[index] for index, new in enumerate(mask)]
    got = pipe(task, views, prompt, "blurry", guidance_scale=3.0, generator=seeded(5), **SMALL)
    fixed = {index: prepare(photos[index], 64, 64) for index, new in enumerate(mask) if not new}
    expected = plain_sampler(pipe, written, "blurry", mask, fixed, 3, 3.0, seeded(5))
    torch.testing.assert_close(got.latents, expected, rtol=1e-4, atol=1e-4)
    target = mask.index(1)
    with torch.no_grad():
        decoded = pipe.vae.decode(expected[:, target] / pipe.vae.config.scaling_factor).sample / 2 + 0.5
    pixels = (decoded.clamp(0, 1)[0].permute(1, 2, 0).numpy() * 255).round()
    assert np.abs(np.asarray(got.images[0]).astype(float) - pixels).max() <= 1


def test_multiview_equals_the_plain_loop(pipe, photos):
    rig = [orbit(angle, 0, 1.5) for angle in (0, 20, 40, 60)]
    views = [photos[0], rig[0], None, rig[1], None, rig[2], None, rig[3]]
    got = pipe("multiview", views, "a boat", guidance_scale=2.0, generator=seeded(1), **SMALL)
    rays = torch.from_numpy(rays_to_latent(camera_rays(rig, 8, 8)))
    fixed = {0: prepare(photos[0], 64, 64), **{2 * index + 1: rays[index] for index in range(4)}}
    expected = plain_sampler(pipe, "[[multiview]] a boat", "", [0, 0, 1, 0, 1, 0, 1, 0], fixed, 3, 2.0, seeded(1))
    torch.testing.assert_close(got.latents, expected, rtol=1e-4, atol=1e-4)
    assert len(got.images) == 3
    # rays skip the codec: channels are (d, m), (d, m), (d, m_x), times 1.658, and not the codec's scaling factor
    torch.testing.assert_close(got.latents[0, 3, 6:12], got.latents[0, 3, :6])
    torch.testing.assert_close(got.latents[0, 3, :3].norm(dim=0), torch.full((8, 8), 1.658))


def test_times_are_per_view_and_conditions_stand_at_the_last_one(pipe, photos):
    calls = watch(pipe)
    pipe("depth2image", [None, photos[0]], "x", guidance_scale=3.0, height=64, width=64, num_inference_steps=4)
    # 16 tokens: mu = 0.5 + (16 - 256) * 0.65 / 3840 = 0.459375, s = e^mu = 1.58308; t = 1000 / (1 + (1/sigma - 1) / s)
    expected = [1000.0, 826.06, 612.87, 345.41]
    assert [call["times"][0, 0].item() for call in calls] == pytest.approx(expected, abs=0.1)
    assert all(call["times"][:, 1].tolist() == pytest.approx([345.41] * 2, abs=0.1) for call in calls)
    assert calls[0]["times"].dtype == torch.float32


def test_rays_count_as_generated_views_in_the_schedule(pipe, photos):
    calls = watch(pipe)
    pipe("multiview", [photos[0], None, photos[1], None], guidance_scale=1.0, **SMALL)
    mu = 0.5 + (2 * 16 - 256) * 0.65 / 3840
    last = 1000 * np.exp(mu) / (np.exp(mu) + 3 - 1)
    assert calls[0]["times"][0, 0].item() == pytest.approx(last, abs=0.01)
    calls.clear()
    pipe("multiview", [photos[0], None, photos[1], None], guidance_scale=1.0, noise_scale=100.0, **SMALL)
    mu = 0.5 + (3200 - 256) * 0.65 / 3840
    assert calls[0]["times"][0, 0].item() == pytest.approx(1000 * np.exp(mu) / (np.exp(mu) + 2), abs=0.01)


def test_conditions_are_the_same_in_both_branches_and_at_every_step(pipe, photos):
    calls = watch(pipe)
    out = pipe("depth2image", [None, photos[0]], "x", guidance_scale=3.0, **SMALL)
    for call in calls:
        assert call["samples"].shape == (2, 2, 16, 8, 8)
        assert torch.equal(call["samples"][0], call["samples"][1])
        assert torch.equal(call["samples"][0, 1], out.latents[0, 1])
    assert not torch.equal(calls[0]["samples"][0, 0], calls[1]["samples"][0, 0])


def test_guidance_puts_the_negative_prompt_first(pipe):
    calls = watch(pipe)
    pipe("text2image", prompt="long positive prompt", negative_prompt="no", guidance_scale=3.0, **SMALL)
    lengths = calls[0]["text"].lengths
    assert lengths == (
        4,
        len("[[text2image]]longpositiveprompt") + 4 + 1,
    )  # spaces and the end
    pooled = calls[0]["text"].pooled
    states, mask = text_states(pipe, ["no", "[[text2image]] long positive prompt"])
    with torch.no_grad():
        torch.testing.assert_close(pooled, pipe.transformer.encode_text(states, mask).pooled, rtol=1e-5, atol=1e-5)


def test_guidance_of_one_or_less_runs_one_branch(pipe):
    calls = watch(pipe)
    pipe("text2image", prompt="x", guidance_scale=1.0, **SMALL)
    assert calls[0]["samples"].shape[0] == 1


def test_each_distinct_prompt_is_encoded_once_per_call(pipe, photos):
    seen, forward = [], pipe.text_encoder.forward

    def spy(input_ids, **options):
        seen.append(input_ids.shape[0])
        return forward(input_ids, **options)

    pipe.text_encoder.forward = spy
    keys, encode = [], type(pipe.transformer).encode_text

    def count(self, *arguments):
        keys.append(1)
        return encode(self, *arguments)

    type(pipe.transformer).encode_text = count
    try:
        pipe("text2image", prompt=["a", "b", "a"], guidance_scale=3.0, num_images_per_prompt=2, height=32, width=32,
             num_inference_steps=50)  # fmt: skip
    finally:
        type(pipe.transformer).encode_text = encode
    assert seen == [3]  # "", "a" and "b" for 50 steps, 2 branches, 6 outputs
    assert keys == [1]


def test_several_prompts_do_not_mix(pipe):
    # the released pipeline broadcasts (B,1,...) against (B,...) here and mixes the samples
    prompts = ["a bay", "a boat", "a bird"]
    together = pipe(
        "text2image", prompt=prompts, generator=[seeded(i) for i in range(3)], output_type="latent", **SMALL
    )
    assert together.latents.shape == (3, 1, 16, 8, 8)
    for index, prompt in enumerate(prompts):
        alone = pipe("text2image", prompt=prompt, generator=seeded(index), output_type="latent", **SMALL)
        torch.testing.assert_close(together.latents[index : index + 1], alone.latents, rtol=1e-4, atol=1e-4)


def test_conditions_are_repeated_for_several_outputs(pipe, photos):
    # one image with two outputs crashed, two images with two outputs gave sample k only image k
    views = [None, photos[0], photos[1]]
    generators = [seeded(i) for i in range(4)]
    both = pipe("faceid", views, ["a man", "a hat"], num_images_per_prompt=2, generator=generators, **SMALL)
    assert len(both.images) == 4
    for output in range(4):
        alone = pipe("faceid", views, ["a man", "a hat"][output // 2], generator=seeded(output), **SMALL)
        torch.testing.assert_close(both.latents[output : output + 1], alone.latents, rtol=1e-4, atol=1e-4)


def test_every_sample_may_have_its_own_views(pipe, photos):
    views = [[None, photos[0]], [None, photos[1]]]
    generators = [seeded(index) for index in range(4)]
    both = pipe("depth2image", views, "a bay", generator=generators, num_images_per_prompt=2, **SMALL)
    for output in range(4):
        alone = pipe("depth2image", views[output // 2], "a bay", generator=seeded(output), **SMALL)
        torch.testing.assert_close(both.latents[output : output + 1], alone.latents, rtol=1e-4, atol=1e-4)


def test_given_noise_is_used(pipe, photos):
    noise = torch.randn(1, 2, 16, 8, 8, generator=seeded(9))
    calls = watch(pipe)
    first = pipe("depth2image", [None, photos[0]], latents=noise, generator=seeded(0), **SMALL)
    assert torch.equal(calls[0]["samples"][0, 0], noise[0, 0])
    again = pipe("depth2image", [None, photos[0]], latents=noise, generator=seeded(0), **SMALL)
    assert torch.equal(first.latents, again.latents)
    with pytest.raises(ConfigError, match=r"latents must have the shape \(1, 2, 16, 8, 8\), got \(1, 16, 8, 8\)"):
        pipe("depth2image", [None, photos[0]], latents=noise[:, 0], **SMALL)


def test_latents_that_are_not_finite_are_refused_and_never_a_black_picture(pipe):
    forward = pipe.transformer.forward
    pipe.transformer.forward = lambda *views, **options: forward(*views, **options) * torch.inf
    for output_type in ("pil", "latent"):
        with pytest.raises(ConfigError, match=r"latents after 3 steps must be finite, got NaN .* in torch.float32"):
            pipe("text2image", prompt="x", output_type=output_type, **SMALL)


def test_the_part_that_overflows_is_named(pipe, photos):
    half = {"encode": pipe.vae.encode, "decode": pipe.vae.decode}

    def overflow(name):
        def spy(tensor):
            output = half[name](tensor)
            if name == "decode":
                output.sample.mul_(torch.nan)
            else:
                output.latent_dist.mean.mul_(torch.nan)
            return output

        return spy

    pipe.vae.decode = overflow("decode")
    with pytest.raises(ConfigError, match="decoded images must be finite"):
        pipe("text2image", prompt="x", **SMALL)
    pipe.vae.encode = overflow("encode")
    with pytest.raises(ConfigError, match="latents of the given images must be finite"):
        pipe("depth2image", [photos[0], None], **SMALL)
    with pytest.raises(ConfigError, match="latents given must be finite"):
        pipe("text2image", prompt="x", latents=torch.full((1, 1, 16, 8, 8), torch.nan), **SMALL)
    pipe.text_encoder.shared.weight.data.fill_(torch.inf)
    with pytest.raises(ConfigError, match="text states must be finite"):
        pipe("text2image", prompt="x", **SMALL)


def test_samples_of_different_shapes_are_refused_unless_a_size_is_given(pipe, photos):
    views = [[photos[0], None], [photos[1].rotate(90, expand=True), None]]
    with pytest.raises(ConfigError, match=r"must share a size, got .* 448x544, 544x448"):
        pipe("depth2image", views, num_inference_steps=1)
    assert len(pipe("depth2image", views, **SMALL).images) == 2


def test_holes_of_an_inpainting_are_black(pipe):
    photo = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    seen, encode = [], pipe.vae.encode
    pipe.vae.encode = lambda pixels: seen.append(pixels) or encode(pixels)
    pipe("image_inpainting", [None, photo], **SMALL)
    assert seen[0].unique().tolist() == [-1.0]


def test_a_bright_image_is_normalised_once(pipe):
    # the released pipeline takes an image without a pixel below mid-grey for one that still needs (x - 0.5) / 0.5
    bright = Image.new("RGB", (64, 64), (153, 204, 255))
    seen, encode = [], pipe.vae.encode
    pipe.vae.encode = lambda pixels: seen.append(pixels) or encode(pixels)
    pipe("depth2image", [bright, None], **SMALL)
    torch.testing.assert_close(seen[0][0, :, 0, 0], torch.tensor([0.2, 0.6, 1.0]))


def test_text_to_multiview_needs_no_images(pipe):
    out = pipe("multiview", [None, orbit(0), None, orbit(30)], "a boat", **SMALL)
    assert len(out.images) == 2
    assert out.rays is None


def test_multiview_without_any_camera(pipe, photos):
    out = pipe("multiview", [photos[0], None, photos[1], None], **SMALL)
    assert out.images == []  # a ray is read, never decoded to a picture
    assert out.rays.shape == (1, 2, 6, 8, 8)
    np.testing.assert_allclose(
        out.rays[0, 0, 5], out.latents[0, 1].numpy()[[5, 11]].mean(0) / 1.658, rtol=1e-5, atol=1e-6
    )


def test_unknown_cameras_are_left_out_of_the_frame(pipe, photos):
    rig = [orbit(20, 0, 1.5), orbit(50, 10, 1.5)]
    out = pipe("multiview", [photos[0], None, photos[1], rig[0], None, rig[1]], **SMALL)
    expected = rays_to_latent(camera_rays(rig, 8, 8))  # relative to the first camera that is given
    np.testing.assert_allclose(out.latents[0, [3, 5]].numpy(), expected, atol=1e-6)


def test_multiview_need_not_be_square(pipe, photos):
    out = pipe("multiview", [photos[0], orbit(0), None, orbit(30)], height=48, width=64, num_inference_steps=2)
    assert out.images[0].size == (64, 48)


def test_sizes_beyond_the_released_rotary_table(pipe):
    assert pipe("text2image", prompt="x", height=16, width=2112, num_inference_steps=1).images[0].size == (2112, 16)


def test_position_scaling_reaches_the_network_for_every_task(pipe):
    calls = watch(pipe)
    pipe("text2image", prompt="x", rope_scale_factor=1.5, rope_scale_watershed=400.0, **SMALL)
    assert {(call["scale_factor"], call["scale_watershed"]) for call in calls} == {(1.5, 400.0)}


def test_joint_generation_of_image_and_condition(pipe):
    assert len(pipe("depth2image", [None, None], "a bay", **SMALL).images) == 2


def test_a_combination_stacks_tokens_and_views(pipe, photos):
    calls = watch(pipe)
    out = pipe(["image_inpainting", "faceid"], [None, photos[0], photos[1]], "a man", **SMALL)
    assert len(out.images) == 1
    assert calls[0]["samples"].shape[1] == 3


def test_written_prompts_and_taken_apart_ones_are_the_same(pipe, photos):
    views = [None, photos[0]]
    parts = Prompt(("semanticmap2image",), ("a cat",), (Entity("cat", "red"),))
    from_parts, as_written = (
        pipe("semanticmap2image", views, prompt, generator=seeded(), output_type="pt", **SMALL)
        for prompt in (parts, "[[semanticmap2image]] <#FF0000 red mask: cat> a cat")
    )
    assert torch.equal(from_parts.images, as_written.images)


def test_default_sizes(pipe, photos):
    fast = {"num_inference_steps": 1, "guidance_scale": 1.0, "output_type": "latent"}
    assert pipe("text2image", prompt="x", **fast).latents.shape[-2:] == (8, 8)  # 8 x the config's input_size
    wide = photos[0].crop((0, 0, 96, 24))
    assert pipe("depth2image", [wide, None], **fast).latents.shape[-2:] == (32, 128)  # the 512-bucket 256 x 1024


def test_output_types(pipe):
    outs = {kind: pipe("text2image", prompt="x", generator=seeded(), output_type=kind, **SMALL) for kind in
            ("pil", "np", "pt", "latent")}  # fmt: skip
    assert outs["np"].images.shape == (1, 64, 64, 3)
    assert outs["pt"].images.shape == (1, 3, 64, 64)
    assert torch.equal(outs["latent"].images, outs["latent"].latents[:, 0])
    np.testing.assert_array_equal(np.asarray(outs["pil"].images[0]), (outs["np"].images[0] * 255).round())
    images, rays, latents = pipe("text2image", prompt="x", generator=seeded(), return_dict=False, **SMALL)
    assert (len(images), rays, latents.shape) == (1, None, (1, 1, 16, 8, 8))


def test_the_callback_sees_and_may_change_the_latents(pipe):
    seen = []

    def zero_at_the_end(called, step, timestep, tensors):
        assert called is pipe
        seen.append((step, float(timestep)))
        return {"latents": tensors["latents"] * 0} if step == 2 else {}

    out = pipe("text2image", prompt="x", callback_on_step_end=zero_at_the_end, **SMALL)
    assert [step for step, _ in seen] == [0, 1, 2]
    assert seen[0][1] == 1000.0
    assert out.latents.abs().max() == 0


def test_bfloat16_runs_and_keeps_exact_times(model_folder):
    pipe = OneDiffusionPipeline.from_pretrained(str(model_folder), torch_dtype=torch.bfloat16)
    pipe.set_progress_bar_config(disable=True)
    calls = watch(pipe)
    out = pipe("text2image", prompt="x", **SMALL)
    assert out.latents.dtype == torch.bfloat16
    assert calls[-1]["times"].dtype == torch.float32
    assert calls[-1]["times"][0, 0].item() == pytest.approx(1000 * 1.58308 / (1.58308 + 2), abs=0.1)


def test_parts_may_be_offloaded_between_their_turns(pipe, photos):
    options = {"generator": seeded(), "output_type": "pt", **SMALL}
    expected = pipe("depth2image", [photos[0], None], **options).images
    pipe.enable_model_cpu_offload(device="cpu")  # the hooks run as on a GPU, only that nothing moves
    options["generator"] = seeded()
    assert torch.equal(pipe("depth2image", [photos[0], None], **options).images, expected)


def test_the_embedded_style_codec_samples_too(photos):
    from onegen.model.codec import PixelShuffleCodec
    from onegen.model.nextdit import NextDiT

    parts = random_pipeline().components
    network = NextDiT(
        input_size=(1, 8, 8), in_channels=192, hidden_size=48, depth=1, num_heads=2, num_kv_heads=1, caption_channels=48
    )
    pipe = OneDiffusionPipeline(**{**parts, "transformer": network, "vae": PixelShuffleCodec()})
    out = pipe("depth2image", [photos[0], None], **SMALL)
    # the condition's latent is the picture itself
    image = torch.nn.functional.pixel_shuffle(out.latents[0, :1] / 2, 8)[0]
    torch.testing.assert_close(image, prepare(photos[0], 64, 64))
    rays = pipe("multiview", [photos[0], None, photos[1], None], **SMALL).rays
    assert rays.shape == (1, 2, 6, 8, 8)


def test_parts_that_do_not_fit_are_refused():
    parts = random_pipeline().components
    from onegen.model.codec import PixelShuffleCodec

    with pytest.raises(ConfigError, match="in_channels of the transformer must be the codec's 192, got 16"):
        OneDiffusionPipeline(**{**parts, "vae": PixelShuffleCodec()})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("depth2img", [None, 0]), "did you mean 'depth2image'"),
        (("depth2image", [None]), r"views of 'depth2image' must be 2 \(image, depth\), got 1"),
        (("depth2image", None, "x"), "must be 2"),
        (("depth2image", [0, 1]), "must leave one to generate"),
        (("deblurring", [0, None]), r"\(blurred\) must be given"),
        (("faceid", [None, 0, 1, 2, 3, 4]), "must be 2 to 5"),
        (("multiview", [0, 1, None, None]), r"view 1 \(ray\) must be a Camera or None, got Image"),
        (("depth2image", [None, orbit(0)]), "must be a PIL or uint8 image or None, got Camera"),
        (("depth2image", [[None, 0], [1, None]]), "must leave the same views out"),
        (("depth2image", [None, [0]]), "got both mixed"),
        (("depth2image", [None, 0], ["a", "b"], "one negative"), "negative prompt must be of the type"),
        (("depth2image", [None, 0], "a", ["one"]), "negative prompt must be of the type"),
        (("depth2image", [[None, 0]] * 2, ["a"] * 3), "lists of views must be one, or one per sample"),
        (
            ("depth2image", [None, 0], Prompt(("hed2img",))),
            "must open with the tokens of depth2image, got those of hed",
        ),
    ],
)
def test_calls_that_are_refused(pipe, photos, arguments, says):
    def fill(view):
        if isinstance(view, list):
            return [fill(each) for each in view]
        return photos[view % 5] if isinstance(view, int) else view

    task, *rest = arguments
    views = fill(rest[0]) if rest and rest[0] is not None else None
    with pytest.raises(ConfigError, match=says):
        pipe(task, views, *rest[1:], **SMALL)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"height": 60, "width": 64}, "height must be divisible by 16, got 60. Use 64"),
        ({"height": 64}, "height and width must be given together"),
        ({"num_inference_steps": 0}, "steps must be at least 1"),
        ({"num_images_per_prompt": 0}, "at least 1"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be finite and above 0, got nan"),
        ({"rope_scale_factor": 0.0}, "rope_scale_factor must be finite and above 0"),
        ({"output_type": "jpeg"}, "must be one of pil, np, pt, latent"),
        ({"generator": [torch.Generator()] * 3}, r"one per output \(1\), got 3"),
        ({"callback_on_step_end_tensor_inputs": ("prompt_embeds",)}, "must be of"),
    ],
)
def test_options_that_are_refused(pipe, options, says):
    with pytest.raises(ConfigError, match=says):
        pipe("text2image", prompt="x", **options)


def test_unknown_arguments_are_refused(pipe, model_folder):
    with pytest.raises(TypeError, match="NEGATIVE_PROMPT"):
        pipe("text2image", prompt="x", NEGATIVE_PROMPT="blurry", **SMALL)
    with pytest.raises(TypeError, match="dtype_of_torch"):
        OneDiffusionPipeline.from_pretrained(str(model_folder), dtype_of_torch=torch.float32)


def test_a_long_prompt_warns_with_its_lost_words(pipe):
    with pytest.warns(UserWarning, match="at most 300 tokens.*drowned"):
        pipe("text2image", prompt="word " * 60 + "drowned", height=32, width=32, num_inference_steps=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pipe("text2image", prompt="short", height=32, width=32, num_inference_steps=1)


def relative_change(pipe):
    """How far the latents are from those of the same network in plain float32."""
    options = {"prompt": "a bay", "output_type": "latent", **SMALL}
    plain = random_pipeline()
    plain.set_progress_bar_config(disable=True)
    pipe.set_progress_bar_config(disable=True)
    wanted = plain("text2image", generator=seeded(), **options).latents
    latents = pipe("text2image", generator=seeded(), **options).latents
    return float((latents.float() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("storage", [torch.float8_e4m3fn, torch.bfloat16])
@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("skip", ["auto", "norms"])  # the network's own choice of layers, and all linear ones
def test_weights_stored_in_fewer_bits_run(storage, compute, skip):
    pipe = random_pipeline()
    pipe.to(compute)
    if skip == "auto":
        pipe.transformer.enable_layerwise_casting(storage_dtype=storage, compute_dtype=compute)
    else:
        apply_layerwise_casting(pipe.transformer, storage, compute, skip_modules_pattern=("norm", "y_embedder.0"))
    assert pipe.transformer.layers[0].attention.wq.weight.dtype == storage
    assert pipe.transformer.final_layer.linear.weight.dtype == (compute if skip == "auto" else storage)
    assert 0 <= relative_change(pipe) < (0.1 if storage == torch.float8_e4m3fn else 0.02)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_linear_layers_quantised_to_int8_run():
    # such layers have no weights left that could tell a dtype
    pipe = random_pipeline()
    for part in ("transformer", "text_encoder"):
        quantised = torch.ao.quantization.quantize_dynamic(getattr(pipe, part), {torch.nn.Linear}, dtype=torch.qint8)
        setattr(pipe, part, quantised)
    assert 0 < relative_change(pipe) < 0.1


@pytest.mark.parametrize(
    "grouping", [{"offload_type": "leaf_level"}, {"offload_type": "block_level", "num_blocks_per_group": 1}]
)
def test_parts_that_are_brought_in_by_groups_compute_the_same(grouping):
    pipe, here = random_pipeline(), torch.device("cpu")
    for part in (pipe.transformer, pipe.text_encoder):
        apply_group_offloading(part, onload_device=here, offload_device=here, **grouping)
    assert relative_change(pipe) == 0


def quantise(module, make):
    """Put quantised layers in place of linear ones, but for T5's `wo`, whose weights transformers asks for a dtype."""
    for name, child in module.named_children():
        if isinstance(child, torch.nn.Linear) and name != "wo":
            layer = make(child.in_features, child.out_features, child.bias is not None)
            layer.load_state_dict(child.state_dict())
            setattr(module, name, layer.to("cpu"))  # moving it quantises its weights
        else:
            quantise(child, make)


@pytest.mark.parametrize(("bits", "most"), [(4, 0.5), (8, 0.05)])
def test_layers_quantised_by_bitsandbytes_run(bits, most):
    bitsandbytes = pytest.importorskip("bitsandbytes")

    def layer(inputs, outputs, bias):
        if bits == 8:
            return bitsandbytes.nn.Linear8bitLt(inputs, outputs, bias, has_fp16_weights=False)
        return bitsandbytes.nn.Linear4bit(inputs, outputs, bias, compute_dtype=torch.float32, quant_type="nf4")

    pipe = random_pipeline()
    for part in (pipe.transformer, pipe.text_encoder):
        quantise(part, layer)
    assert pipe.transformer.layers[0].attention.wq.weight.dtype == (torch.uint8 if bits == 4 else torch.int8)
    assert 0 < relative_change(pipe) < most
