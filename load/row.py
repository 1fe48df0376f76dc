"""Owns one row of the benchmark: its runs, its median, and whether that is what it must be."""

from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(kw_only=True)
class Row:
    """A measure with a bound; each run is a dict of figures with units in their names, `value` the one that counts."""

    name: str
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    runs: list[dict[str, float]] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)

    @property
    def value(self) -> float:
        """The median of the runs."""
        return median(run["value"] for run in self.runs)

    @property
    def must(self) -> str:
        return (
            f">= {self.at_least:.2f}{self.unit}" if self.at_least is not None else f"<= {self.at_most:.2f}{self.unit}"
        )

    @property
    def passed(self) -> bool:
        """Whether the median keeps the bound and every answer was right."""
        low = self.at_least is None or self.value >= self.at_least
        high = self.at_most is None or self.value <= self.at_most
        return low and high and not self.wrong

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "must": self.must,
            "median": self.value,
            "runs": self.runs,
            "wrong_answers": dict(self.wrong),
            "passed": self.passed,
        }
