"""A write request to the store. Immutable values; usable on any thread."""

from typing import Any, Generic, TypeVar

from msgspec import Struct

R = TypeVar("R")


class Write(Struct, Generic[R], frozen=True, gc=False):
    """A write request to the store. Its result has the type R, or is an exception that is raised to the caller."""


AnyWrite = Write[Any]
