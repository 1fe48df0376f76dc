"""What a receiver's response means for its order and for other deliveries. Pure functions; usable on any thread."""

import enum
import re
from datetime import UTC
from email.utils import parsedate_to_datetime

from msgspec import Struct

from workers.error_text import one_line
from workers.http.messages import Response
from workers.processors.webhooks.error_body import readable_text

MAX_RETRY_AFTER_S = 86_400
"""The longest delay, in seconds, that a receiver can request. A longer Retry-After counts as this delay."""
MAX_SHOWN_CHARACTERS = 500
"""How many characters of a response body the error of an order contains."""

_TOO_MANY_REQUESTS = 429
_SERVICE_UNAVAILABLE = 503
_FINAL = frozenset({410, 422})
"""With these statuses, the receiver says that the order must not be sent again."""
_SECONDS = re.compile(r"[0-9]+")
_MAX_DIGITS = len(str(MAX_RETRY_AFTER_S))


class Verdict(enum.Enum):
    """What the end of a delivery means for its order and for other deliveries to the receiver."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    """The order must not be sent again."""
    FAILED = "failed"
    """The receiver responded with any other error, which says nothing about other orders."""
    BUSY = "busy"
    """The receiver asks for fewer deliveries."""
    UNREACHABLE = "unreachable"
    """There was no connection, or no response in time."""


class DeliveryResult(Struct, frozen=True, gc=False):
    """How a delivery ended. `reason` is a text for the `error` of the order.

    `retry_after_s` is the delay that the receiver requested; None if it requested no delay.
    """

    verdict: Verdict
    reason: str = ""
    retry_after_s: float | None = None


_ACCEPTED = DeliveryResult(Verdict.ACCEPTED)


def result_of(response: Response, *, now_s: float) -> DeliveryResult:
    """What the response means. `now_s` is the current time in seconds since 1970, UTC."""
    status, retry_after = response.status, response.retry_after
    if 200 <= status < 300:
        return _ACCEPTED
    text = readable_text(response.body, content_type=response.content_type)
    shown = shown_text(text)
    reason = f"the receiver answered {status}{': ' if shown else ''}{shown}"
    if status in _FINAL:
        return DeliveryResult(Verdict.REJECTED, reason)
    retry_after_s = None if retry_after is None else read_retry_after(retry_after, now_s=now_s)
    is_busy = status == _TOO_MANY_REQUESTS or (status == _SERVICE_UNAVAILABLE and retry_after_s is not None)
    return DeliveryResult(Verdict.BUSY if is_busy else Verdict.FAILED, reason, retry_after_s)


def read_retry_after(text: str, *, now_s: float) -> float | None:
    """The delay in seconds that a Retry-After header requests (RFC 9110 §10.2.3); None if the header is invalid.

    A date in the past is a delay of 0. `now_s` is the current time in seconds since 1970, UTC.
    """
    text = text.strip(" \t")
    if _SECONDS.fullmatch(text):
        digits = text.lstrip("0")
        return MAX_RETRY_AFTER_S if len(digits) > _MAX_DIGITS else min(float(digits or 0), MAX_RETRY_AFTER_S)
    try:
        date = parsedate_to_datetime(text)
        # A date without a zone is in UTC: the two obsolete formats of RFC 9110 §5.6.7 have no zone.
        date_s = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, date_s - now_s), MAX_RETRY_AFTER_S)


def shown_text(text: str) -> str:
    """The beginning of a text from the receiver in one line, at most `MAX_SHOWN_CHARACTERS` characters."""
    return one_line(text[: 2 * MAX_SHOWN_CHARACTERS])[:MAX_SHOWN_CHARACTERS]
