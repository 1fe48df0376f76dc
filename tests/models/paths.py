"""The ways that a text may take to become an order."""

import pytest

on_each_path = pytest.mark.parametrize("metadata", [None, "{}", r'{"\"": 1}'], ids=["plain", "metadata", "careful"])
"""A good order takes the fast path, but with an escaped quote in its metadata, which it can't vouch for."""
