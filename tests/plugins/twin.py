"""An annotator whose column has the name of one that the source `gauge` brings."""

from dataclasses import dataclass
from typing import ClassVar

from onegen.annotators import register
from tests.plugins.tone import Tone


@register("annotators", "twin")
@dataclass(frozen=True)
class Twin(Tone):
    """Tone, called `label`."""

    name: ClassVar[str] = "label"
