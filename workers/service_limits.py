"""The limits of the order service. Immutable values; usable on any thread."""

from typing import NamedTuple


class ServiceLimits(NamedTuple):
    """The limits that flags set, and two that no flag sets."""

    max_attempts: int = 20
    """The value of `--max-attempts`."""
    max_intake: int = 10_000
    """The value of `--max-intake`."""
    max_backlog: int = 1_000_000
    """The value of `--max-backlog`."""
    max_retried_at_once: int = 1_000
    """The maximum number of orders that one transaction examines in order to retry them."""
    max_waiters: int = 10_000
    """The maximum number of requests that wait for orders to end."""
