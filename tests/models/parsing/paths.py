"""Pytest marks that run a test once for each code path of the parser."""

import pytest

with_and_without_metadata = pytest.mark.parametrize("metadata", [None, "{}"], ids=["without", "with"])
"""The two branches of the fast path. A body that the fast path does not accept then takes the slow path."""
on_each_path = pytest.mark.parametrize("metadata", [None, "{}", r'{"\"": 1}'], ids=["plain", "metadata", "slow path"])
"""The fast path does not accept an escaped quote in metadata, although the order is valid."""
