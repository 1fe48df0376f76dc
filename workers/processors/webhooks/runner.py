"""The runner that posts each order to a webhook receiver."""

import time
from collections.abc import Callable, Sequence

from models.order import Order
from workers.backoff import Backoff
from workers.http.http_thread import HttpThread
from workers.http.messages import Failure, FailureKind, Request, Response
from workers.http.target import Target
from workers.processors.order_queue import OrderQueue
from workers.processors.outcomes import NoResultError, NotDeliveredError, ReceiverBusyError, Rejected
from workers.processors.processor import AttemptReports
from workers.processors.webhooks.delivery_gate import Delivery, DeliveryGate
from workers.processors.webhooks.delivery_result import DeliveryResult, Verdict, result_of, shown_text
from workers.processors.webhooks.request import WebhookRequests
from workers.processors.webhooks.settings import WebhookSettings

CONNECT_FRACTION = 1 / 3
"""A connection must be ready within this fraction of the time-out of the whole attempt."""
MAX_RECOVERY_S = 10.0
"""The longest time, in seconds, after which orders are sent again if libcurl or this program has failed."""


class WebhookRunner:
    """Posts orders to a receiver of webhooks, up to `settings.connections` at a time.

    Orders are signed, sent and reported on the thread of an `HttpThread`. The methods of `AttemptRunner` run on the
    event loop. `delivery_result.py` decides what a response means for the order. `gate` decides when orders can be
    sent. Redirects are not followed. `clock` returns seconds since 1970, UTC. The constructor raises
    SecretsRefusedError if the secrets are in a file that can't be used.

    An attempt is aborted after `attempt_timeout_s` seconds, or earlier if the time-out of `settings` is shorter.
    """

    takes_runs = False
    overdue = 0
    """Always 0, because an attempt that takes too long is aborted."""

    def __init__(
        self,
        *,
        settings: WebhookSettings,
        gate: DeliveryGate,
        attempt_timeout_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._requests = WebhookRequests(secrets=settings.secrets.read(), headers=settings.headers)
        self._gate = gate
        self._clock = clock
        self._timeout_s = settings.timeout_s
        self._attempt_timeout_s = attempt_timeout_s
        self._connections = settings.connections
        self._queue = OrderQueue()
        self._reports: AttemptReports | None = None
        self._thread = HttpThread(
            name="webhooks",
            target=Target(
                url=settings.url,
                connect_timeout_s=settings.timeout_s * CONNECT_FRACTION,
                timeout_s=min(settings.timeout_s, attempt_timeout_s or settings.timeout_s),
            ),
            connections=settings.connections,
            source=self,
            backoff=Backoff(first_s=0.1, max_s=MAX_RECOVERY_S),
        )

    def replace_secrets(self, secrets: Sequence[str]) -> None:
        """From now on, signs deliveries with these secrets. Can be called on any thread."""
        self._requests.replace_secrets(secrets)

    @property
    def capacity(self) -> int:
        return self._queue.capacity()

    @property
    def in_time(self) -> int:
        return self._thread.running

    def open(self, reports: AttemptReports) -> None:
        self._reports = reports
        self._queue.open(reports, on_stall=lambda: None, places=lambda: self._connections)

    def start(self, orders: Sequence[Order]) -> None:
        self._queue.put(orders)
        self._thread.wake()

    def withdraw(self) -> Sequence[Order]:
        return self._queue.take_all()

    def close(self) -> None:
        """Aborts all attempts. See `AttemptRunner`."""
        self._queue.close()
        self._thread.close()

    def close_in_child(self) -> None:
        """Does nothing, because no user's function runs that could fork."""

    def next_exchange(self) -> "_Attempt | None":
        """The request for the next order. Called on the thread of the HttpThread."""
        while order := self._queue.take():
            try:
                request = self._requests.request_for(order, now_s=self._clock())
                return _Attempt(request, order, self._gate.begin(order.order_id), self._end)
            except Exception as error:  # noqa: BLE001 - outermost exception handler of the attempt
                self._report(order, error, 0.0)
        return None

    def _end(self, attempt: "_Attempt", sent: Response | Failure, duration_s: float) -> None:
        self._queue.measure(duration_s)
        result, error = DeliveryResult(Verdict.FAILED), None
        try:
            result = self._result_of(sent)
        except Exception as unexpected:  # noqa: BLE001 - outermost exception handler of the attempt
            error = unexpected
        pause_s = self._gate.end(attempt.delivery, result)
        if isinstance(sent, Failure) and self._is_given_up(sent):
            error = NoResultError(self._attempt_timeout_s or 0.0)
        self._report(attempt.order, error or _error_of(result, pause_s=pause_s), duration_s)

    def _report(self, order: Order, error: Exception | None, duration_s: float) -> None:
        if self._reports is None:
            raise RuntimeError("the runner is not open")
        if error is None:
            self._reports.completed([order], duration_s)
        else:
            self._reports.failed(order, error, duration_s)

    def _result_of(self, sent: Response | Failure) -> DeliveryResult:
        if isinstance(sent, Response):
            return result_of(sent, now_s=self._clock())
        is_internal = sent.kind is FailureKind.INTERNAL
        return DeliveryResult(Verdict.FAILED if is_internal else Verdict.UNREACHABLE, self._reason_of(sent))

    def _reason_of(self, failure: Failure) -> str:
        match failure.kind:
            case FailureKind.NOT_CONNECTED_IN_TIME:
                return f"no connection within {self._timeout_s * CONNECT_FRACTION:g} s"
            case FailureKind.NOT_ANSWERED_IN_TIME:
                return f"no answer within {self._timeout_s:g} s"
            case FailureKind.UNREACHABLE:
                what = "the receiver can't be reached"
            case FailureKind.INSECURE:
                what = "no secure connection"
            case FailureKind.NOT_HTTP:
                what = "no HTTP answer"
            case FailureKind.INTERNAL:
                what = "internal error"
        return f"{what}: {shown_text(failure.cause)}"

    def _is_given_up(self, failure: Failure) -> bool:
        """Whether `--attempt-timeout`, and not `--webhook-timeout`, has aborted the request."""
        if self._attempt_timeout_s is None or self._attempt_timeout_s >= self._timeout_s:
            return False
        if failure.kind is FailureKind.NOT_CONNECTED_IN_TIME:
            return self._attempt_timeout_s <= self._timeout_s * CONNECT_FRACTION
        return failure.kind is FailureKind.NOT_ANSWERED_IN_TIME


class _Attempt:
    """The `Exchange` that delivers one order. `delivery` is what `DeliveryGate.begin` returned."""

    __slots__ = ("_end", "delivery", "order", "request")

    def __init__(
        self,
        request: Request,
        order: Order,
        delivery: Delivery,
        end: "Callable[[_Attempt, Response | Failure, float], None]",
    ) -> None:
        self.request = request
        self.order = order
        self.delivery = delivery
        self._end = end

    def end(self, result: Response | Failure, duration_s: float) -> None:
        self._end(self, result, duration_s)


def _error_of(result: DeliveryResult, *, pause_s: float) -> Exception | None:
    """The exception to report for this result; None if the receiver accepted the order."""
    match result.verdict:
        case Verdict.ACCEPTED:
            return None
        case Verdict.REJECTED:
            return Rejected(result.reason)
        case Verdict.BUSY:
            return ReceiverBusyError(result.reason, retry_after_s=max(pause_s, result.retry_after_s or 0.0))
        case Verdict.FAILED | Verdict.UNREACHABLE:
            return NotDeliveredError(result.reason, retry_after_s=result.retry_after_s or 0.0)
