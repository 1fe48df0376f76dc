"""Long work as a generator that yields after each step, so that its caller can do other things between the steps."""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Yields after each step, and returns the result. A step takes a few milliseconds at most."""


def run_to_end(steps: Steps[T]) -> T:
    """Runs all steps, and returns the result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
