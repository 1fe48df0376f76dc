"""`GET /livez` and `GET /readyz`: liveness and readiness probes. Runs on the event loop."""

from handlers.problems.problem import RETRY_AFTER_S, STOPPING, Problem
from handlers.requests.base_handler import BaseHandler
from handlers.service import Service
from handlers.transport.in_flight import InFlightRequests


class LiveHandler(BaseHandler):
    """`GET /livez`: 200 while the event loop runs."""

    def get(self) -> None:
        self.answer_json({"status": "ok"})

    head = get


class ReadyHandler(BaseHandler):
    """`GET /readyz`: 200, or 503 while the server is stopping or can't store or read orders."""

    def initialize(self, *, in_flight: InFlightRequests, service: Service) -> None:
        self._count_in_flight(in_flight=in_flight)
        self._service = service

    async def get(self) -> None:
        if self._in_flight.draining:
            raise Problem(STOPPING, "The server is stopping.", headers={"Retry-After": str(RETRY_AFTER_S)})
        await self._service.check_storage()
        self.answer_json({"status": "ok", "paused": self._service.is_paused})

    head = get
