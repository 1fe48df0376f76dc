"""The limits of the order service. Immutable values; usable on any thread."""

from typing import NamedTuple


class ServiceLimits(NamedTuple):
    """The limits that flags set, and two that no flag sets."""

    workers: int = 8
    """`--workers`"""
    attempt_timeout_s: float | None = None
    """`--attempt-timeout`"""
    max_attempts: int = 20
    """`--max-attempts`"""
    max_intake: int = 10_000
    """`--max-intake`"""
    max_backlog: int = 1_000_000
    """`--max-backlog`"""
    max_retried_at_once: int = 1_000
    """The maximum number of orders that one transaction examines in order to retry them."""
    max_waiters: int = 10_000
    """The maximum number of requests that wait for orders to end."""

    @property
    def threads(self) -> int:
        """The maximum number of worker threads. With a time-out, half of them are reserves: see `Dispatcher`."""
        return self.workers if self.attempt_timeout_s is None else 2 * self.workers
