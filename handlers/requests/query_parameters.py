"""Parses URL queries strictly, and reports all unknown, repeated, empty and invalid parameters. No I/O."""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

from handlers.problems.problem import INVALID_PARAMETER, Problem, error_members

_INTEGER = re.compile(r"0|[1-9][0-9]{0,18}")
# RFC 3339 §5.6. A note in that section allows a space instead of the T.
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
# The format of `created_time` and `processed_time` in responses, which are in UTC.
_TIME_OF_API = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}) ([0-9]{2}:[0-9]{2}:[0-9]{2})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class QueryParameters:
    """The parameters of one request. Each getter returns None if its parameter is missing or invalid.

    `arguments` is Tornado's `request.query_arguments`. A parameter whose name is not in `allowed` is an error. After
    the last getter, call `check`, which raises all errors together.
    """

    def __init__(self, arguments: Mapping[str, list[bytes]], *, allowed: Collection[str]) -> None:
        self._errors: list[dict[str, str]] = []
        self._values: dict[str, str] = {}
        self._given = arguments.keys()
        for name, values in arguments.items():
            if name not in allowed:
                # Tornado decodes names as Latin-1, but clients send UTF-8.
                self.add_error(name.encode("latin1").decode(errors="replace"), "is not known here")
            elif len(values) > 1:
                self.add_error(name, "must not be given more than once")
            elif not values[0]:
                self.add_error(name, "must not be empty")
            else:
                self._values[name] = values[0].decode(errors="replace")

    def text(self, name: str) -> str | None:
        """The value as text. The caller calls `add_error` if the value is invalid."""
        return self._values.get(name)

    def choice(self, name: str, choices: Collection[str], *, is_required: bool = False) -> str | None:
        """The value, if it is one of `choices`; the case matters. If `is_required`, a missing value is an error."""
        value = self.text(name)
        is_missing = is_required and name not in self._given
        if is_missing or (value is not None and value not in choices):
            self.add_error(name, f"must be one of {', '.join(choices)}")
            return None
        return value

    def integer(self, name: str, low: int, high: int) -> int | None:
        """The value, if it is an integer from `low` to `high` without sign and leading zeros. `low` is at least 0."""
        value = self.text(name)
        if value is None:
            return None
        if not _INTEGER.fullmatch(value) or not low <= int(value) <= high:
            self.add_error(name, f"must be an integer from {low} to {high}")
            return None
        return int(value)

    def time(self, name: str) -> int | None:
        """The time in microseconds since 1970, UTC, rounded up. Accepts RFC 3339, and `2025-03-01 12:00:00` as UTC."""
        value = self.text(name)
        if value is None:
            return None
        time_us = _time_us(value)
        if time_us is None:
            self.add_error(name, "must be a time such as 2025-03-01T12:00:00Z (a + before an offset is written %2B)")
        return time_us

    def add_error(self, name: str, detail: str) -> None:
        """Adds an error for `check` to report."""
        self._errors.append({"parameter": name, "detail": detail})

    def check(self) -> None:
        """Raises a Problem that lists all errors, if there are any."""
        if self._errors:
            detail = "`errors` lists each invalid parameter and the reason."
            raise Problem(INVALID_PARAMETER, detail, members=error_members(self._errors))


def _time_us(text: str) -> int | None:
    """Microseconds since 1970, UTC; None if the text is not a valid time.

    Rounded up: when a stored time, in whole microseconds, is compared by `>=` or `<`, the result is the same as with
    the exact time.
    """
    utc = _TIME_OF_API.fullmatch(text)
    found = utc or _TIME.fullmatch(text)
    if found is None:
        return None
    fraction, sign, hours, minutes = (None, None, None, None) if utc else found.groups()[2:]
    try:
        second = datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00")
    except ValueError:  # a day or an hour that does not exist, or the year 0
        return None
    offset_minutes = int(hours or 0) * 60 + int(minutes or 0)
    if int(hours or 0) > 23 or int(minutes or 0) > 59:
        return None
    digits = fraction or ""
    fraction_us = int(digits[:6].ljust(6, "0")) + bool(digits[6:].strip("0"))
    offset_us = offset_minutes * 60_000_000 * (-1 if sign == "-" else 1)
    return (second - _EPOCH) // _MICROSECOND + fraction_us - offset_us
