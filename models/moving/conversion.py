"""Converts rows of the SQLite file to rows of PostgreSQL, in the text format of COPY. Pure functions.

https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from models.listing import HIGHEST
from models.order import Ending, Status

STATUS_CODES = {Status.COMPLETED: "c", Status.FAILED: "f", Status.CANCELLED: "x"}
"""The values of `status` in PostgreSQL's table `ends`."""

_CODES: dict[str, str] = {status.value: code for status, code in STATUS_CODES.items()}
_PENDING, _PROCESSING = Status.PENDING.value, Status.PROCESSING.value
_ENDINGS = frozenset(ending.value for ending in Ending)
_NULL = r"\N"
_SPECIAL = re.compile(r"[\\\b\f\n\r\t\v]")
_ESCAPES = {"\\": r"\\", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v"}
_decode_ids: Callable[[str], list[int]] = msgspec.json.Decoder(list[int]).decode


class Conversion(NamedTuple):
    """How rows are converted. `node` is the number of the server that Processing orders get.

    `due_later_us` is added to due times: the difference between the database's clock and the clock of the file.
    """

    node: int
    due_later_us: int

    def order(self, row: tuple[Any, ...]) -> tuple[str, str, str]:
        """Converts the columns that `source_statements.ORDERS` selects to rows of `orders`, `work` and `ends`.

        Either the row of `work` or the row of `ends` is empty.

        Raises ValueError, TypeError or KeyError if the values can't be the values of an order. The format `:d` is only
        valid for integers.
        """
        (sequence, order_id, user_id, item_ids, total_amount, metadata, status, attempts, claims, error, created_us,
            processed_us, due_us, claimed_after_us, trace_headers) = row  # fmt: skip
        _decode_ids(item_ids)
        claimed = _NULL if claimed_after_us is None else f"{created_us + claimed_after_us:d}"
        order = (
            f"{sequence}\t{order_id:d}\t{user_id:d}\t{total_amount:d}\t{created_us:d}\t{item_ids}\t{_text(metadata)}"
            f"\t{_text(trace_headers)}\n"
        )
        if status in (_PENDING, _PROCESSING):
            is_pending = status == _PENDING
            node = _NULL if is_pending else f"{self.node:d}"
            due = f"{min(due_us + self.due_later_us, HIGHEST):d}" if is_pending and due_us is not None else _NULL
            work = f"{sequence}\t{created_us}\t{node}\t{claimed}\t{due}\t{attempts:d}\t{claims:d}\t{_error(error)}\n"
            return order, work, ""
        processed = _NULL if processed_us is None else f"{processed_us:d}"
        end = f"{sequence}\t{processed}\t{claimed}\t{attempts:d}\t{claims:d}\t{_CODES[status]}\t{_error(error)}\n"
        return order, "", end


def attempt(row: tuple[Any, ...]) -> str:
    """Converts a row of the table of attempts, as `Conversion.order` converts orders."""
    sequence, claim, number, started_us, ended_us, ending, error = row
    if ending not in _ENDINGS:
        raise ValueError
    started = _NULL if started_us is None else f"{started_us:d}"
    return f"{sequence:d}\t{claim:d}\t{number:d}\t{started}\t{ended_us:d}\t{ending}\t{_error(error)}\n"


def _error(error: str | None) -> str:
    # Older versions of this program stored errors with NUL, which PostgreSQL can't store.
    return _text(error).replace("\0", "\N{REPLACEMENT CHARACTER}")


def _text(text: str | None) -> str:
    if text is None:
        return _NULL
    return _SPECIAL.sub(lambda found: _ESCAPES[found[0]], text)
