"""Owns what is measured in turns and added up, beside a Pace; values that are read on the event loop's thread."""

from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

from load.bench.pace import Pace


class Addable(Protocol):
    """What a turn has measured, to which that of another one can be added."""

    def add(self, other: Self, /) -> None: ...


Turn = TypeVar("Turn", bound=Addable)


@dataclass
class Processed:
    """Requests that were answered, and how long it took after them until every order was processed."""

    pace: Pace
    empty_s: float

    @property
    def per_second(self) -> float:
        """Give the requests whose orders were processed a second, from the first request on."""
        return self.pace.right / (self.pace.elapsed_s + self.empty_s)

    def add(self, other: Self) -> None:
        self.pace.add(other.pace)
        self.empty_s += other.empty_s


@dataclass
class Times:
    """How long each answer took."""

    ms: list[float]

    def add(self, other: Self) -> None:
        self.ms += other.ms
