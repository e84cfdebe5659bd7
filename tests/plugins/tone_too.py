"""An annotator whose part has the name of another's."""

from dataclasses import dataclass
from typing import ClassVar

from onegen.annotators import register
from tests.plugins.tone import Tone


@register("annotators", "tone_too")
@dataclass(frozen=True)
class ToneToo(Tone):
    """Tone as another column, its part named the same."""

    name: ClassVar[str] = "tone_too"
