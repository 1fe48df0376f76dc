"""Parses the header Prefer (RFC 7240). Pure functions."""

import re
from collections.abc import Iterator

from tornado.httputil import HTTPHeaders

MAX_WAIT_S = 30

# Possessive quantifiers (*+, ++, ?+) do not backtrack, so matching takes linear time.
# A comma in a quoted string is not a separator; a string without a closing quote extends to the end of the line.
_ITEM = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.?)*+"?)++')
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_PREFERENCE = re.compile(rf'\s*+({_NAME})\s*+(?:=\s*+(?:({_NAME})|"([^"]*+)")?+\s*+)?+(?:;.*+)?+')


def preferred_wait_s(headers: HTTPHeaders) -> int | None:
    """How many seconds the client wants to wait for the order to be done (`Prefer: wait=N`). At most `MAX_WAIT_S`.

    None if there is no valid `wait`. Invalid preferences are ignored (RFC 7240 §2).
    """
    # RFC 7240 §2: of repeated preferences, only the first counts.
    value = next((value for name, value in _preferences(headers) if name == "wait"), "")
    return min(int(value), MAX_WAIT_S) if value.isascii() and value.isdigit() and len(value) < 10 else None


def _preferences(headers: HTTPHeaders) -> Iterator[tuple[str, str]]:
    """The lower-case name and the value of each preference. Parameters of preferences are left out."""
    for line in headers.get_list("Prefer"):
        for item in _ITEM.findall(line):
            if found := _PREFERENCE.fullmatch(item):
                yield found[1].lower(), found[2] or found[3] or ""
