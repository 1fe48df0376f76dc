"""The processors: `record`, `webhook`, and a user's function.

A user's function imports `Rejected` and `RetryLater` from here and raises them.
"""

from workers.processors.outcomes import Rejected, RetryLater

__all__ = ["Rejected", "RetryLater"]
