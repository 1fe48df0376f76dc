"""Checks that the plain lane and Tornado send equal responses."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from tornado.httputil import HTTPHeaders

from tests.handlers.conftest import StartApi
from tests.handlers.running_api import RunningApi, Way, WayLog

ID = "X-Request-Id: mine\r\n"
Variant = Callable[[bytes], bytes]


def through_tornado(request: bytes) -> bytes:
    """The request with additional headers, because of which the lane passes it to Tornado."""
    start_line, _, rest = request.partition(b"\r\n")
    return b"%b\r\n%b%b" % (start_line, Way.TORNADO.value.encode(), rest)


def closing(request: bytes) -> bytes:
    """The same request, after which the client wants the connection to be closed."""
    return request.replace(b"\r\nHost:", b"\r\nConnection: close\r\nHost:", 1)


def in_http_1_0(request: bytes) -> bytes:
    """The same request in HTTP/1.0, which closes the connection after the response."""
    return request.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)


async def served(api: RunningApi, requests: list[bytes]) -> list[bytes]:
    """The bytes of each response, without the value of its Date. Checks that a last response closes its connection."""
    responses = []
    for request in requests:
        async with api.connection() as connection:
            await connection.send(request)
            head = await connection.reader.readuntil(b"\r\n\r\n")
            length = HTTPHeaders.parse(head.decode("latin1").partition("\r\n")[2])["Content-Length"]
            body = await connection.reader.readexactly(int(length))
            if b"\r\nConnection: close\r\n" in request or b" HTTP/1.0\r\n" in request:
                assert await connection.is_closed_by_server()
            responses.append(re.sub(rb"\r\nDate: [^\r]+", b"\r\nDate: now", head) + body)
    return responses


VARIANTS: list[Variant] = [bytes, closing, in_http_1_0]


async def by_both_ways(
    start_api: StartApi,
    requests: list[bytes],
    *,
    prepare: Callable[[RunningApi], object] = id,
    options: Mapping[str, Callable[[], Any]] | None = None,
) -> list[int]:
    """Checks that the lane and Tornado send equal bytes. `options` make the options of each API. Returns statuses."""
    responses = []
    for way, turned in ((Way.LANE, bytes), (Way.TORNADO, through_tornado)):
        log = WayLog()
        api = await start_api(name=way.name, access_log=log, **{name: make() for name, make in (options or {}).items()})
        prepare(api)
        responses.append(await served(api, [turned(request) for request in requests]))
        assert log.ways == {way}
    assert responses[0] == responses[1]
    return [int(response.split(b" ", 2)[1]) for response in responses[0]]
