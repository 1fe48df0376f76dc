"""What processing an order means: record, webhook, or a function of the user's.

`Rejected` and `RetryLater` are what a user's function raises.
"""

from workers.processors.outcomes import Rejected, RetryLater

__all__ = ["Rejected", "RetryLater"]
