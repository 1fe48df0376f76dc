"""The processors, which decide what an attempt does with an order: `record`, `webhook`, and a user's function.

A user's function, and the tests of that function, import these names:

- `Order` is the type of the function's argument.
- `Rejected` and `RetryLater` are the exceptions with which the function decides what happens to the order.
"""

from workers.processors.functions.order import Order
from workers.processors.outcomes import Rejected, RetryLater

__all__ = ["Order", "Rejected", "RetryLater"]
