"""Owns a row of the benchmark's result: a measure, its bound, what was measured and whether that counts."""

from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(kw_only=True)
class Row:
    """A measure, with a bound unless it only informs, and an aim beyond the bound where there is one.

    Each run is a dict of figures with units in their names, `value` the one that counts. `wrong` counts
    answers that were not what they must be, `void` the reasons for which runs measured something else.
    """

    name: str
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    aim: float | None = None
    runs: list[dict[str, float]] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)
    void: Counter[str] = field(default_factory=Counter)

    @property
    def value(self) -> float:
        """The median of the runs."""
        return median(run["value"] for run in self.runs)

    @property
    def must(self) -> str:
        """The bound in words; an empty text where there is none, and the row only informs."""
        return self._in_words(self.at_most if self.at_least is None else self.at_least)

    @property
    def should(self) -> str:
        """The aim in words; an empty text where there is none."""
        return self._in_words(self.aim)

    @property
    def is_void(self) -> bool:
        """Whether so many runs measured something else that the median may be one of them."""
        return self.void.total() * 2 >= len(self.runs) > 0

    @property
    def passed(self) -> bool:
        """Whether the median keeps the bound, every answer was right and the row is not void."""
        low = self.at_least is None or self.value >= self.at_least
        high = self.at_most is None or self.value <= self.at_most
        return low and high and not self.wrong and not self.is_void

    @property
    def reached(self) -> bool | None:
        """Whether the row passed and its median is what it should be as well; None where there is no aim."""
        if self.aim is None:
            return None
        return self.passed and (self.value <= self.aim if self.at_least is None else self.value >= self.aim)

    @property
    def lines(self) -> list[str]:
        """The verdict, and below it what is wrong."""
        verdict = "void" if self.is_void else "FAIL" if not self.passed else "pass" if self.must else "info"
        bound = f", must be {self.must}" if self.must else ""
        if self.aim is not None:
            bound += f", aim {self.should} {'reached' if self.reached else 'missed'}"
        return [
            f"{verdict}  median {self.value:.3f}{self.unit}{bound}: {self.name}",
            *(f"      wrong answers: {reason}, {times} times" for reason, times in self.wrong.items()),
            *(f"      no measure: {reason}, {times} of {len(self.runs)} runs" for reason, times in self.void.items()),
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "must": self.must,
            "aim": self.should,
            "median": self.value,
            "runs": self.runs,
            "wrong_answers": dict(self.wrong),
            "void_runs": dict(self.void),
            "is_void": self.is_void,
            "passed": self.passed,
            "aim_reached": self.reached,
        }

    def _in_words(self, bound: float | None) -> str:
        if bound is None:
            return ""
        return f"{'<=' if self.at_least is None else '>='} {bound:.2f}{self.unit}"
