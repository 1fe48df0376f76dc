"""Makes texts safe to print: without API keys and control characters. Pure functions, any thread."""

import re

LONGEST = 200
# The server's API keys begin so; a user may put one in the wrong place.
KEY = re.compile(r"orderskey_[^\s'\"]*")


def without_keys(text: str) -> str:
    """Return the text with every API key in it cut short."""
    return KEY.sub("orderskey_...", text)


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."


def printable(text: str, *, longest: int = LONGEST) -> str:
    """Return a text that fits a line and can't control a terminal: escapes control characters, cuts long texts."""
    shown = cut(text, longest)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown)
