"""JSON Pointers in their URI fragment form (RFC 6901 §6), such as `#/item_ids/0`. Pure functions."""

import functools
import re
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

MAX_CHARACTERS = 500
"""The maximum length of a pointer. Without a limit, one body could need thousands of pointers of 30,000 characters
each."""

Path: TypeAlias = tuple[Any, ...]
"""The path of a value in a JSON text: `(path of the parent, key or index)`. `ROOT` is the path of the whole text."""
ROOT: Path = ()

_UNCHANGED = re.compile(r"[A-Za-z0-9_.!$&'()*+,;=:@-]*")


class Pointer(NamedTuple):
    """`text` points to the value if `is_exact`; else to the innermost value around it whose pointer is short enough."""

    text: str
    is_exact: bool


def pointer(path: Path) -> Pointer:
    """The pointer of the value at this path."""
    tokens = []
    while path:
        path, token = path
        tokens.append(token)
    text = "#"
    for token in reversed(tokens):
        if isinstance(token, int):
            longer = f"{text}/{token}"
        elif len(token) < MAX_CHARACTERS:
            longer = f"{text}/{token if _UNCHANGED.fullmatch(token) else _escape(token)}"
        else:
            return Pointer(text, is_exact=False)
        if len(longer) > MAX_CHARACTERS:
            return Pointer(text, is_exact=False)
        text = longer
    return Pointer(text, is_exact=True)


@functools.lru_cache(maxsize=128)  # the errors in one object have most tokens in common
def _escape(token: str) -> str:
    return quote(token.replace("~", "~0").replace("/", "~1"), safe="~!$&'()*+,;=:@", errors="replace")
