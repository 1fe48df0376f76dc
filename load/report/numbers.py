"""How numbers are written on the page. Pure functions, any thread. charts.js has the same rule for its labels."""

import math

LEAST_DIGITS = 3
MOST_DECIMALS = 6


def counted(count: int) -> str:
    """Return a whole number with thousands separators."""
    return f"{count:,}"


def measured(value: float) -> str:
    """Return a measured number with three significant digits, but all of those before the point."""
    if value == 0:
        return "0"
    decimals = LEAST_DIGITS - 1 - math.floor(math.log10(abs(value)))
    return f"{value:,.{min(max(decimals, 0), MOST_DECIMALS)}f}"


def exact(value: float) -> str:
    """Return a chosen number, such as a percentile or the start of an interval, without a float's rounding error."""
    return f"{value:,.10g}" if abs(value) < 1e9 else f"{value:,.0f}"


def share(value: float) -> str:
    """Return a fraction in per cent."""
    return f"{measured(value * 100)} %"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{counted(count)} {noun}" if count == 1 else f"{counted(count)} {noun}s"
