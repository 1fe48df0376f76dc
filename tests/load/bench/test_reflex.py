"""The server of fixed answers: one for each whole request, however its bytes come."""

import asyncio
from typing import cast

import pytest

from load.bench.reflex import ANSWER, Reflex
from tests.load.answers import parse_answer

REQUEST = b"POST /order HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nbody"


class Written:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


def _answers(*pieces: bytes) -> bytes:
    reflex, written = Reflex(), Written()
    reflex.connection_made(cast(asyncio.BaseTransport, written))
    for piece in pieces:
        reflex.data_received(piece)
    return written.data


@pytest.mark.parametrize("size", [1, 7, len(REQUEST), 2 * len(REQUEST) - 1, 3 * len(REQUEST)])
def test_each_whole_request_has_one_answer_however_it_comes(size: int) -> None:
    sent = 3 * REQUEST
    assert _answers(*(sent[place : place + size] for place in range(0, len(sent), size))) == 3 * ANSWER


def test_a_request_that_is_not_whole_has_none() -> None:
    assert _answers(REQUEST[:-1]) == b""
    assert _answers(b"GET / HTTP/1.1\r\n") == b""


def test_a_request_without_a_body_is_whole_with_its_head() -> None:
    assert _answers(b"GET / HTTP/1.1\r\n\r\n") == ANSWER


def test_the_client_takes_it_for_a_202() -> None:
    answer = parse_answer(ANSWER)
    assert answer is not None
    assert (answer.status, answer.keep_alive) == (202, True)
