"""Owns what a percentile is here: the nearest rank; pure functions, any thread."""

import math
from collections.abc import Sequence


def percentile_of(ascending: Sequence[int], percentile: float) -> int:
    """Give the smallest value that so many per cent of the values, at least one of them, don't exceed; 100: the last.

    Of no values there is none: an IndexError.
    """
    # Rounded, since 41,000 * 99.9 / 100 is a little more than 40,959 in floating point.
    rank = math.ceil(round(len(ascending) * percentile / 100, 6))
    return ascending[max(1, rank) - 1]
