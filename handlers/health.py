"""`GET /livez` and `GET /readyz`: liveness and readiness probes. Runs on the event loop.

The plain lane serves them too, because load balancers open a connection for each probe.
"""

import asyncio
from typing import Any

from handlers.problems.problem import RETRY_AFTER_S, STOPPING, Problem
from handlers.requests.base_handler import BaseHandler
from handlers.service import Service
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.json_encoder import encode
from handlers.transport.plain_head import PlainHead
from handlers.transport.plain_request import PlainRequest
from handlers.transport.responses import CLOSE


def live_state() -> Any:
    """The body of a response of `/livez`."""
    return {"status": "ok"}


async def ready_state(*, service: Service, in_flight: InFlightRequests) -> Any:
    """The body of a response of `/readyz`. Raises a Problem or a StorageError if the server is not ready."""
    if in_flight.is_stopping:
        raise Problem(STOPPING, "The server is stopping.", headers={"Retry-After": str(RETRY_AFTER_S)})
    await service.check_storage()
    return {"status": "ok", "paused": service.is_paused}


class LiveHandler(BaseHandler):
    """`GET /livez`: 200 while the event loop runs."""

    def get(self) -> None:
        self.answer_json(live_state())

    head = get


class ReadyHandler(BaseHandler):
    """`GET /readyz`: 200, or 503 while the server is stopping or can't store or read orders."""

    def initialize(self, *, in_flight: InFlightRequests, service: Service) -> None:
        self._count_in_flight(in_flight=in_flight)
        self._service = service

    async def get(self) -> None:
        self.answer_json(await ready_state(service=self._service, in_flight=self._in_flight))

    head = get


class PlainLive:
    """`GET /livez` on the plain lane."""

    def takes(self, head: PlainHead) -> bool:
        return True

    def serve(self, request: PlainRequest) -> None:
        _respond(request, live_state())


class PlainReady:
    """`GET /readyz` on the plain lane."""

    def __init__(self, *, service: Service, in_flight: InFlightRequests) -> None:
        self._service = service
        self._in_flight = in_flight
        self._tasks: set[asyncio.Task[None]] = set()

    def takes(self, head: PlainHead) -> bool:
        return True

    def serve(self, request: PlainRequest) -> None:
        task = asyncio.create_task(self._serve(request))
        self._tasks.add(task)  # the event loop has only a weak reference to a task
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, request: PlainRequest) -> None:
        try:
            state = await ready_state(service=self._service, in_flight=self._in_flight)
        except Exception as error:  # noqa: BLE001 - outermost exception handler of the request
            request.fail(error)
        else:
            _respond(request, state)


def _respond(request: PlainRequest, state: Any) -> None:
    request.respond_as_handler("application/json", CLOSE if request.is_draining else {}, encode(state))
