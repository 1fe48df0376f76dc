"""Pytest marks that run a test once for each code path of the parser."""

import pytest

with_and_without_metadata = pytest.mark.parametrize("metadata", [None, "{}"], ids=["without", "with"])
"""One value for each branch of the fast path. The slow path parses bodies that the fast path does not accept."""
on_each_path = pytest.mark.parametrize("metadata", [None, "{}", r'{"\"": 1}'], ids=["plain", "metadata", "slow path"])
"""The third value is valid, but has an escaped quote, which only the slow path accepts."""
