"""Parametrize marks that take a test along each path of the parser."""

import pytest

with_and_without_metadata = pytest.mark.parametrize("metadata", [None, "{}"], ids=["without", "with"])
"""Two branches of the fast path, which a body leaves only if it is invalid."""
on_each_path = pytest.mark.parametrize("metadata", [None, "{}", r'{"\"": 1}'], ids=["plain", "metadata", "slow path"])
"""A valid order takes the fast path, unless its metadata contains an escaped quote."""
