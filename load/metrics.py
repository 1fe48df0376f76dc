"""Owns the reading of GET /metrics, as far as the load generator needs it."""

from dataclasses import dataclass
from typing import Self

from load.answer import Answer
from load.json_value import BadJson, decode_json


class NoMetrics(Exception):
    """The answer does not say how many orders wait."""


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Numbers of orders: `waiting` for processing or in it, `completed`, and `finished` in whatever way."""

    waiting: int
    completed: int
    finished: int

    @classmethod
    def parse(cls, answer: Answer) -> Self:
        """Read an answer; NoMetrics when the counts are not there."""
        if answer.status != 200:
            raise NoMetrics(f"GET /metrics: status {answer.status}")
        try:
            counts = decode_json(answer.body)
            completed = counts["completed_orders"]
            return cls(
                waiting=counts["pending_orders"] + counts["processing_orders"],
                completed=completed,
                finished=completed + counts.get("failed_orders", 0) + counts.get("cancelled_orders", 0),
            )
        except (BadJson, KeyError, TypeError, AttributeError):
            raise NoMetrics("GET /metrics: the counts of orders are missing") from None
