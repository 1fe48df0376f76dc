"""The query of a URL, read strictly: what is unknown, repeated, empty or bad is said, all of it at once. Pure."""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

from handlers.problems.problem import INVALID_PARAMETER, Problem

_INTEGER = re.compile(r"0|[1-9][0-9]{0,18}")
# RFC 3339 §5.6, whose note allows a space for the T; without an offset it must look as the API shows times.
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_TIME_AS_SHOWN = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}) ([0-9]{2}:[0-9]{2}:[0-9]{2})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Parameters:
    """The parameters of one request; each reader returns None where there is none or a bad one.

    `arguments` are Tornado's `request.query_arguments`. Call `check` once everything has been read.
    """

    def __init__(self, arguments: Mapping[str, list[bytes]], *, known: Collection[str]) -> None:
        self._errors: list[dict[str, str]] = []
        self._given: dict[str, str] = {}
        for name, values in arguments.items():
            if name not in known:
                # Tornado takes the bytes of a name for Latin-1.
                self.refuse(name.encode("latin1").decode(errors="replace"), "is not known here")
            elif len(values) > 1:
                self.refuse(name, "must not be given more than once")
            elif not values[0]:
                self.refuse(name, "must not be empty")
            else:
                self._given[name] = values[0].decode(errors="replace")

    def text(self, name: str) -> str | None:
        """The value as it was given; for a reader of the caller's own, who calls `refuse` for a bad one."""
        return self._given.get(name)

    def choice(self, name: str, among: Collection[str]) -> str | None:
        """The value, one of `among`, letter for letter."""
        value = self.text(name)
        if value is not None and value not in among:
            self.refuse(name, f"must be one of {', '.join(among)}")
            return None
        return value

    def integer(self, name: str, low: int, high: int) -> int | None:
        """The value, from `low` (not below 0) to `high`: digits alone, without zeros before them."""
        value = self.text(name)
        if value is None:
            return None
        if not _INTEGER.fullmatch(value) or not low <= int(value) <= high:
            self.refuse(name, f"must be an integer from {low} to {high}")
            return None
        return int(value)

    def time(self, name: str) -> int | None:
        """The value in microseconds since 1970, UTC, rounded up: RFC 3339, or `2025-03-01 12:00:00` in UTC."""
        value = self.text(name)
        if value is None:
            return None
        time_us = _time_us(value)
        if time_us is None:
            self.refuse(name, "must be a time such as 2025-03-01T12:00:00Z (a + before an offset is written %2B)")
        return time_us

    def refuse(self, name: str, detail: str) -> None:
        """Notes what is wrong with a parameter."""
        self._errors.append({"parameter": name, "detail": detail})

    def check(self) -> None:
        """Raises the Problem that names everything that is wrong."""
        if self._errors:
            detail = "The list of errors says what is wrong with which parameter."
            raise Problem(INVALID_PARAMETER, detail, members={"errors": self._errors})


def _time_us(text: str) -> int | None:
    """None where it is no time. Rounded up, so that `from` and `before` the moment mean what they say."""
    shown = _TIME_AS_SHOWN.fullmatch(text)
    found = shown or _TIME.fullmatch(text)
    if found is None:
        return None
    fraction, sign, hours, minutes = (None, None, None, None) if shown else found.groups()[2:]
    try:
        second = datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00")
    except ValueError:  # a day or an hour that does not exist; years begin with 1
        return None
    offset_minutes = int(hours or 0) * 60 + int(minutes or 0)
    if int(hours or 0) > 23 or int(minutes or 0) > 59:
        return None
    digits = fraction or ""
    fraction_us = int(digits[:6].ljust(6, "0")) + bool(digits[6:].strip("0"))
    offset_us = offset_minutes * 60_000_000 * (-1 if sign == "-" else 1)
    return (second - _EPOCH) // _MICROSECOND + fraction_us - offset_us
