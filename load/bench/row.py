"""One row of the benchmark's result: a measure, its bound, its runs, and whether it passed. Pure values, any thread."""

from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(kw_only=True)
class Row:
    """A measure with a bound, unless it is for information only, and perhaps a stricter aim.

    Each run is a dict of numbers with units in their names; `value` is the one that is judged. `wrong` counts failed
    requests by reason, `invalid` counts the runs that do not measure the server, by reason.
    """

    name: str
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    aim: float | None = None
    runs: list[dict[str, float]] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)
    invalid: Counter[str] = field(default_factory=Counter)

    @property
    def value(self) -> float:
        """The median of the runs."""
        return median(run["value"] for run in self.runs)

    @property
    def bound(self) -> float | None:
        return self.at_most if self.at_least is None else self.at_least

    @property
    def is_invalid(self) -> bool:
        """Whether so many runs are invalid that the median may be one of them."""
        return self.invalid.total() * 2 >= len(self.runs) > 0

    @property
    def passed(self) -> bool:
        """Whether the median is within the bound, no answer was wrong and the row is not invalid."""
        return (self.bound is None or self._is_within(self.bound)) and not self.wrong and not self.is_invalid

    @property
    def reached(self) -> bool | None:
        """Whether the row passed and its median reaches the aim; None for a row without an aim."""
        return None if self.aim is None else self.passed and self._is_within(self.aim)

    @property
    def lines(self) -> list[str]:
        """The verdict, followed by what was wrong."""
        verdict = "info" if self.bound is None else "pass"
        if not self.passed:
            verdict = "invalid" if self.is_invalid else "FAIL"
        bound = "" if self.bound is None else f", must be {self._as_text(self.bound)}"
        if self.aim is not None:
            bound += f", aim {self._as_text(self.aim)} {'reached' if self.reached else 'missed'}"
        return [
            f"{verdict}  median {self.value:.3f}{self.unit}{bound}: {self.name}",
            *(f"      wrong answers: {reason}, {times} times" for reason, times in self.wrong.items()),
            *(f"      invalid: {reason}, {times} of {len(self.runs)} runs" for reason, times in self.invalid.items()),
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "must": self._as_text(self.bound),
            "aim": self._as_text(self.aim),
            "median": self.value,
            "runs": self.runs,
            "wrong_answers": dict(self.wrong),
            "invalid_runs": dict(self.invalid),
            "is_invalid": self.is_invalid,
            "passed": self.passed,
            "aim_reached": self.reached,
        }

    def _is_within(self, limit: float) -> bool:
        return self.value <= limit if self.at_least is None else self.value >= limit

    def _as_text(self, bound: float | None) -> str:
        if bound is None:
            return ""
        return f"{'<=' if self.at_least is None else '>='} {bound:.2f}{self.unit}"
