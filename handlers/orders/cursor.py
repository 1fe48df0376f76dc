"""Cursors of listings: the sequence of an order and the direction, as a text for clients. Pure functions."""

import base64
import re

from models.listing import HIGHEST

_CURSOR = re.compile(rb"([12]):([1-9][0-9]{0,18})")
_NEWEST_FIRST, _OLDEST_FIRST = b"1", b"2"


def cursor_of(sequence: int, *, oldest_first: bool = False) -> str:
    """The cursor of the orders that follow the order with this sequence, in this direction."""
    text = b"%b:%d" % (_OLDEST_FIRST if oldest_first else _NEWEST_FIRST, sequence)
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def parse_cursor(cursor: str, *, oldest_first: bool = False) -> int | None:
    """The sequence in a cursor, the inverse of `cursor_of`. None if the cursor is invalid or of the other direction."""
    try:
        found = _CURSOR.fullmatch(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        return None
    if found is None or int(found[2]) > HIGHEST or cursor_of(int(found[2]), oldest_first=oldest_first) != cursor:
        return None
    return int(found[2])
