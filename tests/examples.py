"""How many examples Hypothesis generates for a test: fewer if the slow tests are left out."""

from hypothesis import settings

ALL = 100
"""The number of examples by default."""
FAST = settings(max_examples=25, derandomize=True, database=None)
"""For the fast tests: a quarter of the examples, and the same ones each time."""


def examples(count: int) -> int:
    """The number of examples for a test that needs `count` examples in a run of all tests."""
    return max(1, count * settings().max_examples // ALL)
