"""Sends requests to a target until each has a response. Runs on the event loop."""

import asyncio
from typing import NamedTuple

from load.chaos.report import BALANCER, DROPPED, REFUSED, UNAVAILABLE, WRONG
from load.chaos.target import Target
from load.http.connection import Connection, NoConnection, NoResponse, Response, TooSlow, send_request

ANSWER_LIMIT_S = 25.0  # A response can take over 13 s: the server waits up to 10 s for a lock, and 3 s while frozen.
RETRY_S = 0.1  # The pause before the next attempt. Shorter than Retry-After, so that clients send more during faults.
RETRY_AFTER = b"\r\nretry-after:"
STORAGE_UNAVAILABLE, COMMIT_UNKNOWN = b"/problems/storage-unavailable", b"/problems/commit-unknown"
DISK_FULL = "disk full"
FROM_BALANCER = (502, 503, 504)


class Reply(NamedTuple):
    """The final response, after `unavailable` attempts with a 503, and `unanswered` other attempts.

    After `unanswered` attempts, it was not known whether the order is stored.
    """

    answer: Response
    unanswered: int
    unavailable: int


class RetryingClient:
    """Sends requests over one keep-alive connection. Repeats each request until it gets a response other than 503.

    After a response of the load balancer itself, it is not known whether the order is stored.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection = Connection(target.address)

    async def send(self, request: bytes) -> Reply:
        unanswered = unavailable = 0
        errors = self._target.client_errors
        while True:
            try:
                answer = await send_request(self._connection, request, limit_s=ANSWER_LIMIT_S)
            except TooSlow as problem:
                self._target.findings.add(WRONG, str(problem))
                unanswered += 1
            except NoConnection:
                errors[REFUSED] += 1
                if self._target.balancer:
                    self._target.balancer.check()
            except NoResponse:
                errors[DROPPED] += 1
                unanswered += 1
            else:
                if answer.status in FROM_BALANCER and self._target.node_of(answer) is None:
                    errors[BALANCER] += 1
                    unanswered += 1
                elif answer.status != 503:
                    return Reply(answer, unanswered, unavailable)
                else:
                    is_unknown = COMMIT_UNKNOWN in answer.body
                    unanswered += is_unknown
                    unavailable += not is_unknown
                    errors[UNAVAILABLE] += 1
                    errors[DISK_FULL] += STORAGE_UNAVAILABLE in answer.body
                    if RETRY_AFTER not in answer.head:
                        self._target.findings.add(WRONG, "a 503 without Retry-After")
            await asyncio.sleep(RETRY_S)

    def close(self) -> None:
        self._connection.close()
