"""Owns the counts and latencies of one run's sending."""

import math
from array import array
from collections import Counter


class Tally:
    """What became of every order sent; orders are named by their index in the source.

    Latencies are those of 202 answers: a server that refuses quickly is not a quick server.
    """

    def __init__(self) -> None:
        self.accepted = array("q")
        self.duplicates = array("q")
        self.refused: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self._latencies_ns: list[int] = []

    def accept(self, index: int, latency_ns: int) -> None:
        self.accepted.append(index)
        self._latencies_ns.append(latency_ns)

    def repeat(self, index: int, latency_ns: int) -> None:
        """Count a 202 for an order that the server had already."""
        self.duplicates.append(index)
        self._latencies_ns.append(latency_ns)

    def refuse(self, status: int) -> None:
        self.refused[status] += 1

    def fail(self, reason: str) -> None:
        self.errors[reason] += 1

    @property
    def acknowledged(self) -> int:
        """How many 202 answers came, those for duplicates included."""
        return len(self.accepted) + len(self.duplicates)

    @property
    def sent(self) -> int:
        return self.acknowledged + self.refused.total() + self.errors.total()

    def latency_ms(self, percentile: float) -> float | None:
        """Give a percentile in milliseconds by nearest rank (100 is the maximum); None before the first 202."""
        if not self._latencies_ns:
            return None
        self._latencies_ns.sort()
        rank = max(1, math.ceil(len(self._latencies_ns) * percentile / 100))
        return self._latencies_ns[rank - 1] / 1e6
