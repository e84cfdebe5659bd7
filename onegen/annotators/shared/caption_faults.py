"""What is wrong with a caption that a model wrote: nothing said, cut off, looping, a refusal, another language."""

import re

WARMER = 0.7
"""Temperature of a second question, so that it need not have the first answer."""
_REFUSALS = re.compile(
    r"^\W*(i['’]?m sorry|sorry(?=[,.!]| but| i )|i apologi[sz]e|i can(?:no|['’])t|i(?: am|['’]m) (?:unable|not able)|"
    r"as an ai|unfortunately,? i)\b",
    re.IGNORECASE,
)
_LOOP_WORDS, _LOOP_TIMES = 6, 3
"""So many words in a row, so many times, are a loop."""
_FOREIGN_SHARE = 0.2


def fault_of(caption: str, is_cut: bool = False) -> str | None:
    """Return the reason for which a caption is no good, None for a good one; `is_cut` is the server's word."""
    words = caption.split()
    if not words:
        return "empty_caption"
    if _REFUSALS.match(caption):
        return "refused_caption"
    if is_cut:
        return "cut_caption"
    if _loops([word.lower() for word in words]):
        return "looping_caption"
    return "foreign_caption" if _foreign_share(caption) > _FOREIGN_SHARE else None


def _loops(words: list[str]) -> bool:
    seen: dict[tuple[str, ...], int] = {}
    for start in range(len(words) - _LOOP_WORDS + 1):
        run = tuple(words[start : start + _LOOP_WORDS])
        seen[run] = seen.get(run, 0) + 1
        if seen[run] == _LOOP_TIMES:
            return True
    return False


def _foreign_share(caption: str) -> float:
    """Return the share of letters that no Latin alphabet has."""
    letters = [letter for letter in caption if letter.isalpha()]
    return sum(ord(letter) > 0x24F for letter in letters) / len(letters) if letters else 1.0
