"""Vision-language models of transformers, asked about pictures through their own chat template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from PIL import Image

from onegen.annotators.shared.pixels import picture_of
from onegen.annotators.shared.torch_annotator import TorchAnnotator
from onegen.errors import ConfigError
from onegen.pixels.sizes import fit
from onegen.sample import CHANGES_NO_RESULT, Item, Resources
from onegen.weights.hub import TRANSFORMERS, HubModel


@dataclass(frozen=True)
class Speaker(TorchAnnotator):
    """Base of annotators that ask a vision-language model: any that transformers loads as image-text-to-text.

    LLaVA-NeXT, Molmo2, Qwen-VL, InternVL, Gemma and others, by the name of their repository. The picture is given with
    its longer side at most `max_side` pixels; answers have at most `max_tokens` tokens. `remote_code` runs Python code
    that lies in the repository, as models need that transformers does not have, the first Molmo among them: only with
    that is it fetched. Whoever lets it run trusts its authors with the machine.
    """

    model: str = field(default="llava-hf/llama3-llava-next-8b-hf", metadata={CHANGES_NO_RESULT: True})
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    max_side: int = 768
    max_tokens: int = 400
    remote_code: bool = False

    resources: ClassVar[Resources] = Resources(num_gpus=1, memory=8 << 30)

    def check(self) -> None:
        """Raise ConfigError for an option out of its range."""
        for option, least in (("max_side", 28), ("max_tokens", 1)):
            if getattr(self, option) < least:
                raise ConfigError(f"{option} of {self.name} must be at least {least}, got {getattr(self, option)}.")

    def hub_model(self) -> HubModel:
        """Return the handle of its weights, with the code beside them where that is wanted."""
        code = ("*.py",) if self.remote_code else ()
        return HubModel(self.model, self.revision, (*TRANSFORMERS, *code), self.sha256, self.extra)

    def build(self, folder: Path) -> Any:
        """Return the processor and the network."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        processor = self.processor(AutoProcessor, folder, trust_remote_code=self.remote_code)
        if getattr(processor, "chat_template", None) is None:
            raise ConfigError(f"model {self.model} of {self.name} must have a chat template, and has none.")
        # What is generated follows the prompt, which must end where the row ends.
        processor.tokenizer.padding_side = "left"
        if processor.tokenizer.pad_token is None:
            processor.tokenizer.pad_token = processor.tokenizer.eos_token
        network = self.from_folder(AutoModelForImageTextToText, folder, trust_remote_code=self.remote_code)
        return processor, network

    def prepare(self, item: Item) -> Image.Image:
        """Return the picture, made smaller."""
        picture = picture_of(item)
        scale, size = fit((picture.height, picture.width), self.max_side)
        return picture.resize(size, Image.Resampling.BOX) if scale < 1 else picture

    def ask(
        self, pictures: Sequence[Image.Image], prompt: str, temperature: float = 0.0, seed: int = 0
    ) -> list[tuple[str, bool]]:
        """Return what the model says of each picture, and whether it was cut off at `max_tokens`.

        Nothing is drawn at random at temperature 0; above it, `seed` decides.
        """
        import torch

        processor, network = self.network()
        inputs = processor(
            text=[_chat(processor, prompt)] * len(pictures),
            images=[[picture] for picture in pictures],
            padding=True,
            return_tensors="pt",
        ).to(network.device)
        inputs = {
            name: value.to(network.dtype) if torch.is_tensor(value) and value.is_floating_point() else value
            for name, value in inputs.items()
        }
        with torch.inference_mode(), torch.random.fork_rng(devices=_devices(network.device)):
            torch.manual_seed(seed)
            spoken = network.generate(
                **inputs,
                max_new_tokens=self.max_tokens,
                pad_token_id=processor.tokenizer.pad_token_id,
                **_sampling(temperature),
            )
        said = spoken[:, inputs["input_ids"].shape[1] :].cpu()
        ends = _ends(network, processor)
        texts = processor.tokenizer.batch_decode(said, skip_special_tokens=True)
        return [(text, not ends & set(row.tolist())) for text, row in zip(texts, said, strict=True)]


def _chat(processor: Any, prompt: str) -> str:
    content = [{"type": "image"}, {"type": "text", "text": prompt}]
    text: str = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return text


def _sampling(temperature: float) -> Mapping[str, Any]:
    # A repository's own settings of sampling are put aside: what is said shall be what the options say.
    if temperature <= 0:
        return {"do_sample": False, "num_beams": 1, "temperature": None, "top_p": None, "top_k": None}
    return {"do_sample": True, "num_beams": 1, "temperature": temperature}


def _ends(network: Any, processor: Any) -> set[int]:
    """Return the tokens that end an answer."""
    ends = network.generation_config.eos_token_id
    listed = ends if isinstance(ends, list | tuple) else [ends]
    return {int(end) for end in [*listed, processor.tokenizer.eos_token_id] if end is not None}


def _devices(device: Any) -> list[Any]:
    return [device] if device.type == "cuda" else []
