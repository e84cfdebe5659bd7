"""Text that can be stored: everything kept, but for what UTF-8 cannot say."""


def storable(text: str) -> str:
    r"""Return text as valid UTF-8 can hold it, control characters and all.

    JSON may escape half a surrogate pair (`"\ud83d"`), which no UTF-8 file can hold: it becomes U+FFFD, and two halves
    that belong together become the character they stand for.
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
