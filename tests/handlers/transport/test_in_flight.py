"""The count of the requests in flight."""

import asyncio

import pytest

from handlers.transport.in_flight import InFlightRequests
from tests.handlers.running_api import turn_of_the_loop


def test_a_request_counts_once_however_often_it_begins_and_ends() -> None:
    requests = InFlightRequests()
    one, other = object(), object()
    for _ in range(2):
        requests.begin(one)
    requests.begin(other)
    assert requests.count == 2
    for _ in range(2):
        requests.end(one)
    assert requests.count == 1
    requests.end(other)
    requests.end(one)
    assert requests.count == 0


@pytest.mark.gen_test
async def test_a_request_that_ends_twice_does_not_end_the_drain_for_another() -> None:
    requests = InFlightRequests()
    one, other = object(), object()
    requests.begin(one)
    requests.begin(other)
    draining = asyncio.ensure_future(requests.drain(60))
    for _ in range(2):
        requests.end(one)
    await turn_of_the_loop()
    assert not draining.done()
    requests.end(other)
    await draining
