"""Owns what a percentile is here: the nearest rank; pure functions, any thread."""

import math
from collections.abc import Sequence


def percentile_of(ascending: Sequence[int], percentile: float) -> int:
    """Give the smallest value that so many per cent of the values, at least one of them, don't exceed; 100: the last.

    Of no values there is none: an IndexError.
    """
    return ascending[max(1, math.ceil(len(ascending) * percentile / 100)) - 1]
