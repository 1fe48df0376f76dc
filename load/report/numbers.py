"""Owns how numbers read on the page: pure functions, any thread. charts.js has the same rule for its labels."""

import math

LEAST_DIGITS = 3
MOST_DECIMALS = 6


def counted(count: int) -> str:
    """Give a whole number with separators of thousands."""
    return f"{count:,}"


def measured(value: float) -> str:
    """Give a measured number: three significant digits, but never fewer than it has before the point."""
    if value == 0:
        return "0"
    decimals = LEAST_DIGITS - 1 - math.floor(math.log10(abs(value)))
    return f"{value:,.{min(max(decimals, 0), MOST_DECIMALS)}f}"


def exact(value: float) -> str:
    """Give a number that was chosen, such as a percentile or the begin of an interval, without a float's noise."""
    return f"{value:,.10g}" if abs(value) < 1e9 else f"{value:,.0f}"


def share(value: float) -> str:
    """Give a share of one in per cent."""
    return f"{measured(value * 100)} %"


def plural(count: int, noun: str) -> str:
    """Give a count with its noun."""
    return f"{counted(count)} {noun}" if count == 1 else f"{counted(count)} {noun}s"
