"""Pytest marks that run a test once for each code path of the parser."""

from tests.cases import cases

with_and_without_metadata = cases("metadata", [None, "{}"])
"""One value for each branch of the fast path. The slow path parses bodies that the fast path does not accept."""
on_each_path = cases("metadata", [None, "{}", r'{"\"": 1}'])
"""The third value is valid, but has an escaped quote, which only the slow path accepts."""
