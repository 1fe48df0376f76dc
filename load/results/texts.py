"""Owns how texts that a server wrote are shown to people; pure functions, any thread."""

LONGEST = 200


def shown(text: str, *, longest: int = LONGEST) -> str:
    """Give a text that fits a line and can't command a terminal: controls are escaped, and a long one is cut short."""
    cut = text if len(text) <= longest else f"{text[:longest]}..."
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut)
