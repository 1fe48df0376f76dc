"""The URL table: the RequestHandlers of all requests that no Exchange serves. Runs on the event loop."""

import time
from typing import Any, NamedTuple

from tornado.web import Application, RequestHandler

from handlers.health import LiveHandler, PlainLive, PlainReady, ReadyHandler
from handlers.logs.access_log import AccessLog
from handlers.metrics.handler import ANY_FORMAT, PROMETHEUS_FORMATS, MetricsHandler
from handlers.openapi.document import document
from handlers.orders.actions import CancelHandler, EraseHandler, RetryHandler, RetryManyHandler
from handlers.orders.attempts import AttemptsHandler
from handlers.orders.bulk_endpoint import BulkEndpoint
from handlers.orders.listing import ListingHandler
from handlers.orders.plain import PlainOrders
from handlers.orders.processing import ProcessingHandler
from handlers.orders.time_slices import TimeSlices
from handlers.pages.dashboard import Dashboard, read_dashboard
from handlers.pages.docs import Docs, read_docs
from handlers.pages.static_content import (
    PlainContent,
    StaticContent,
    StaticContentHandler,
    StaticFilesHandler,
    static_content,
)
from handlers.requests.error_responses import ErrorResponder, NotFoundHandler, OtherMethodHandler
from handlers.router import PlainEndpoint, PlainRouter, Router
from handlers.security.request_guard import Guard
from handlers.service import Service
from handlers.telemetry import Telemetry
from handlers.transport.in_flight import InFlightRequests


class Pages(NamedTuple):
    """What is sent from memory: the pages, their files, and the description of the API."""

    dashboard: Dashboard
    docs: Docs
    description: StaticContent

    def by_path(self) -> dict[str, StaticContent]:
        """The content at each path."""
        return {
            "/": self.dashboard.page,
            **{f"/dashboard/{name}": file for name, file in self.dashboard.files.items()},
            "/docs": self.docs.page,
            **{f"/docs/{name}": file for name, file in self.docs.files.items()},
            "/openapi.json": self.description,
        }


def read_pages(*, version: str, has_keys: bool) -> Pages:
    """Reads and compresses all files. Raises DashboardBrokenError and AssetsMissingError."""
    page = read_dashboard(has_keys=has_keys)
    text = document(version=version, dashboard_files=page.types, has_keys=has_keys)
    return Pages(page, read_docs(), static_content(text, "application/json"))


def build_plain_router(
    *, service: Service, telemetry: Telemetry, guard: Guard, in_flight: InFlightRequests, pages: Pages
) -> PlainRouter:
    """Builds the handler of requests on the plain lane (`handlers/transport/lane.py`)."""
    endpoints: dict[str, PlainEndpoint] = {path: PlainContent(content) for path, content in pages.by_path().items()}
    endpoints |= {"/livez": PlainLive(), "/readyz": PlainReady(service=service, in_flight=in_flight)}
    return PlainRouter(PlainOrders(service=service, instruments=telemetry.instruments), endpoints, guard=guard)


def build_router(
    *,
    service: Service,
    telemetry: Telemetry,
    guard: Guard,
    access_log: AccessLog | None,
    in_flight: InFlightRequests,
    pages: Pages,
    max_buffered_bytes: int,
) -> Router:
    """Builds the delegate for Tornado's HTTPServer.

    `max_buffered_bytes` limits what all `POST /orders` requests buffer: see `BulkEndpoint`.
    """
    everywhere: dict[str, Any] = {"in_flight": in_flight}
    orders = everywhere | {"service": service}
    metrics = orders | {"snapshots": telemetry.snapshots, "prometheus": telemetry.prometheus}

    def count_response(handler: RequestHandler) -> None:
        in_flight.responses[handler.get_status()] += 1

    application = Application(
        [
            # The router passes requests with an allowed method to an Exchange. OtherMethodHandler rejects all others.
            (r"/order", OtherMethodHandler, everywhere | {"allowed": ("POST",)}),
            (r"/orders/events", OtherMethodHandler, everywhere | {"allowed": ("GET",)}),
            (r"/metrics/events", OtherMethodHandler, everywhere | {"allowed": ("GET",)}),
            (r"/order/[0-9]+", OtherMethodHandler, everywhere | {"allowed": ("GET", "HEAD")}),
            (r"/order/([0-9]+)/attempts", AttemptsHandler, orders),
            (r"/order/([0-9]+)/cancel", CancelHandler, orders),
            (r"/order/([0-9]+)/retry", RetryHandler, orders),
            (r"/order/([0-9]+)/erase", EraseHandler, orders),
            (r"/orders", ListingHandler, orders),
            (r"/orders/retry", RetryManyHandler, orders),
            (r"/processing/pause", ProcessingHandler, orders | {"is_paused": True}),
            (r"/processing/resume", ProcessingHandler, orders | {"is_paused": False}),
            (r"/metrics", MetricsHandler, metrics | {"media_types": ANY_FORMAT}),
            (r"/metrics/prometheus", MetricsHandler, metrics | {"media_types": PROMETHEUS_FORMATS}),
            (r"/livez", LiveHandler, everywhere),
            (r"/readyz", ReadyHandler, orders),
            (r"/openapi\.json", StaticContentHandler, everywhere | {"content": pages.description}),
            (r"/docs", StaticContentHandler, everywhere | {"content": pages.docs.page}),
            (r"/docs/([^/]+)", StaticFilesHandler, everywhere | {"files": pages.docs.files}),
            (r"/", StaticContentHandler, everywhere | {"content": pages.dashboard.page}),
            (r"/dashboard/([^/]+)", StaticFilesHandler, everywhere | {"files": pages.dashboard.files}),
        ],
        default_handler_class=NotFoundHandler,
        default_handler_args=everywhere,
        log_function=count_response,
    )
    errors = ErrorResponder(application=application, in_flight=in_flight)
    bulk = BulkEndpoint(
        service=service,
        instruments=telemetry.instruments,
        in_flight=in_flight,
        errors=errors,
        max_buffered_bytes=max_buffered_bytes,
        slices=TimeSlices(clock=time.monotonic),
    )
    return Router(
        application,
        service=service,
        telemetry=telemetry,
        guard=guard,
        access_log=access_log,
        in_flight=in_flight,
        errors=errors,
        bulk=bulk,
    )
