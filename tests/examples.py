"""The settings of Hypothesis: no time limit for an example, and fewer examples if the slow tests are left out."""

from hypothesis import settings

ALL_COUNT = 100
"""The number of examples by default."""
ALL = settings(deadline=None)
"""For a run of all tests. No time limit, because an example takes long while other programs use the processor."""
FAST = settings(ALL, max_examples=25, derandomize=True, database=None)
"""For the fast tests: a quarter of the examples, and the same ones each time."""


def examples(count: int) -> int:
    """The number of examples for a test that needs `count` examples in a run of all tests."""
    return max(1, count * settings().max_examples // ALL_COUNT)
