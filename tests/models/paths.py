"""The ways that a text may take to become an order."""

import pytest

with_and_without_metadata = pytest.mark.parametrize("metadata", [None, "{}"], ids=["without", "with"])
on_each_path = pytest.mark.parametrize("metadata", [None, "{}", r'{"\"": 1}'], ids=["plain", "metadata", "careful"])
"""A good order takes the fast path, but with an escaped quote in its metadata, which it can't vouch for."""
