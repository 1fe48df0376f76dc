"""A sequence whose items are made only if somebody reads them. Usable on any thread."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TypeVar, overload

T = TypeVar("T")


class LazySequence(Sequence[T]):
    """Makes all items when the first item is read. A subclass implements `__len__`, which needs no items."""

    @abstractmethod
    def _make(self) -> list[T]:
        """The items."""

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self._items[index]

    @cached_property
    def _items(self) -> list[T]:
        return self._make()
