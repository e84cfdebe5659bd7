"""An annotator filed under another name than its column's."""

from dataclasses import dataclass

from onegen.annotators import register
from tests.plugins.tone import Tone


@register("annotators", "alias")
@dataclass(frozen=True)
class Alias(Tone):
    """Tone, which it also calls its column."""
