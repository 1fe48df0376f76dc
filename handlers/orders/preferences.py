"""What a client prefers, in the header Prefer (RFC 7240). Pure."""

import re
from collections.abc import Iterator

from tornado.httputil import HTTPHeaders

MAX_WAIT_S = 30

# Nothing here is given back once it is taken (*+, ++, ?+): no header can make the search take long.
# Commas in quotes part nothing; a quote that never ends goes on to the end.
_PART = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.?)*+"?)++')
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_PREFERENCE = re.compile(rf'\s*+({_WORD})\s*+(?:=\s*+(?:({_WORD})|"([^"]*+)")?+\s*+)?+(?:;.*+)?+')


def preferred_wait_s(headers: HTTPHeaders) -> int | None:
    """For how many seconds, up to `MAX_WAIT_S`, the client would rather wait for the order's end than get a 202.

    None where it does not say so, or not in words that make sense: a preference may be ignored (RFC 7240 §2).
    """
    # The first one counts, as the RFC has it.
    value = next((value for name, value in _preferences(headers) if name == "wait"), "")
    return min(int(value), MAX_WAIT_S) if value.isascii() and value.isdigit() and len(value) < 10 else None


def _preferences(headers: HTTPHeaders) -> Iterator[tuple[str, str]]:
    """Each preference's name, in small letters, and its value; parameters are left out."""
    for line in headers.get_list("Prefer"):
        for part in _PART.findall(line):
            if found := _PREFERENCE.fullmatch(part):
                yield found[1].lower(), found[2] or found[3] or ""
