"""The exceptions with which a processor reports how an attempt ended. Usable on any thread."""

MAX_DELAY_S = 366 * 86_400
"""The longest delay, in seconds, that a processor can request."""


class Rejected(Exception):
    """Raised by a processor: the order can't be fulfilled, and a retry would not help. The order becomes Failed."""

    def __init__(self, reason: object = "") -> None:
        super().__init__(str(reason) or "rejected")


class RetryLater(Exception):
    """Raised by a processor: the order must be retried after `seconds`, from 0 to `MAX_DELAY_S`.

    The attempt counts towards `--max-attempts`.
    """

    delay_s: float | None = None
    """The delay in seconds. None if a subclass does not call the `__init__` of RetryLater: the order is then retried
    after the same delay as after any other exception."""

    def __init__(self, seconds: float, reason: object = "") -> None:
        if not 0 <= seconds <= MAX_DELAY_S:
            raise ValueError(f"RetryLater takes from 0 to {MAX_DELAY_S} seconds, not {seconds}")
        super().__init__(str(reason) or f"to be tried again in {seconds:g} s")
        self.delay_s = float(seconds)


class NoResultError(Exception):
    """The attempt has not ended within `timeout_s` seconds, the value of `--attempt-timeout`. The order is retried."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"no result within {timeout_s:g} s")


class NotDeliveredError(Exception):
    """Raised by the webhook processor: the delivery failed.

    The order is retried, but not before `retry_after_s` seconds have passed.
    """

    def __init__(self, reason: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class ReceiverBusyError(NotDeliveredError):
    """Raised by the webhook processor: the receiver asked for fewer deliveries.

    During the first day after the order was accepted, the attempt does not count towards `--max-attempts`.
    """


class NotSentError(Exception):
    """No attempt was made: deliveries are paused, or the order has waited too long for its attempt.

    The order becomes Pending again, as if it had not been claimed.
    """
