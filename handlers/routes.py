"""The URL table: the one place where handlers are given their collaborators. Runs on the event loop."""

from asyncio import Future
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from tornado.httputil import HTTPServerConnectionDelegate
from tornado.web import Application

from handlers.actions import ActionHandler, RetryFailedHandler
from handlers.base import NotFoundHandler, OtherMethodHandler
from handlers.exchange import Incoming
from handlers.health import LiveHandler, ReadyHandler
from handlers.metrics import MetricsHandler
from handlers.router import Router
from handlers.traffic import Traffic
from models.order import NewOrder, Order, Totals
from models.writes import Insertion, Retried


class Collaborators(NamedTuple):
    """What the handlers work with. Times: `clock` in microseconds since 1970, `uptime_s` in seconds."""

    traffic: Traffic
    admit: Callable[[Incoming], None]
    insert: Callable[[NewOrder], Future[Insertion]]
    find: Callable[[int], Future[Order | None]]
    cancel: Callable[[int], Awaitable[Order | None]]
    retry: Callable[[int], Awaitable[Order | None]]
    retry_failed: Callable[[int], Awaitable[Retried]]
    totals: Callable[[], Awaitable[Totals]]
    check_storage: Callable[[], Awaitable[None]]
    rates: Callable[[Totals], tuple[float, float]]
    clock: Callable[[], int]
    uptime_s: Callable[[], float]


def build_router(given: Collaborators) -> HTTPServerConnectionDelegate:
    """What Tornado's HTTPServer serves."""
    everywhere: dict[str, Any] = {"traffic": given.traffic}
    metrics = {"totals": given.totals, "rates": given.rates, "clock": given.clock, "uptime_s": given.uptime_s}
    application = Application(
        [
            # The methods that these two know are served by the router.
            (r"/order", OtherMethodHandler, everywhere | {"allowed": ("POST",)}),
            (r"/order/[0-9]+", OtherMethodHandler, everywhere | {"allowed": ("GET", "HEAD")}),
            (r"/order/([0-9]+)/cancel", ActionHandler, everywhere | {"act": given.cancel}),
            (r"/order/([0-9]+)/retry", ActionHandler, everywhere | {"act": given.retry}),
            (r"/orders/retry", RetryFailedHandler, everywhere | {"retry_failed": given.retry_failed}),
            (r"/metrics", MetricsHandler, everywhere | metrics),
            (r"/livez", LiveHandler, everywhere),
            (r"/readyz", ReadyHandler, everywhere | {"check_storage": given.check_storage}),
        ],
        default_handler_class=NotFoundHandler,
        default_handler_args=everywhere,
        log_function=lambda handler: None,
    )
    return Router(application, traffic=given.traffic, admit=given.admit, insert=given.insert, find=given.find)
