"""Percentiles by nearest rank."""

from fractions import Fraction
from math import ceil

import pytest

from load.results.counting import percentile_of


@pytest.mark.parametrize("percentile", ["50", "90", "99", "99.9", "99.99"])
def test_the_rank_is_exact_for_any_number_of_values(percentile: str) -> None:
    for count in (*range(1, 2_000), *range(10_000, 200_000, 1_000)):
        rank = ceil(Fraction(percentile) * count / 100)
        assert percentile_of(range(1, count + 1), float(percentile)) == rank
