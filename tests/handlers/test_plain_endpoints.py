"""Probes and files get equal responses from the plain lane and from Tornado."""

import re
from functools import partial

import pytest

from handlers.security.rate_limit import RateLimit
from models.errors import StorageBusyError, StorageDamagedError
from tests.handlers.both_ways import ID, VARIANTS, by_both_ways, served
from tests.handlers.conftest import StartApi
from tests.handlers.running_api import RunningApi, Way, WayLog, get_text
from tests.handlers.security.sample_keys import TOKENS, bearer, build_guard

PROBES = ["/livez", "/readyz"]
FILES = ["/", "/docs", "/openapi.json", "/dashboard/app.js", "/docs/swagger-ui-bundle.js"]
ENCODINGS = ["", "Accept-Encoding: gzip\r\n", "Accept-Encoding: gzip;q=0\r\n", "Range: bytes=0-9\r\n"]
WITH_BODY = f"{ID}Content-Length: 5\r\n"


@pytest.mark.gen_test
async def test_probes_get_the_same_response(start_api: StartApi) -> None:
    requests = [get_text(path, headers=ID) for path in PROBES]
    requests += [get_text(path, headers=WITH_BODY) + b"hello" for path in PROBES]
    varied = [variant(request) for variant in VARIANTS for request in requests]
    assert await by_both_ways(start_api, varied) == [200] * 4 * len(VARIANTS)


@pytest.mark.gen_test
async def test_files_get_the_same_response(start_api: StartApi) -> None:
    requests = [get_text(path, headers=ID + encoding) for path in FILES for encoding in ENCODINGS]
    statuses = await by_both_ways(start_api, [variant(request) for variant in VARIANTS for request in requests])
    assert set(statuses) == {200}


@pytest.mark.gen_test
@pytest.mark.parametrize("error", [StorageBusyError(), StorageDamagedError("x")])
async def test_a_server_that_is_not_ready_says_so_on_both_ways(start_api: StartApi, error: Exception) -> None:
    async def fail() -> None:
        raise error

    requests = [get_text(path, headers=ID) for path in PROBES]
    options = {"check_storage": lambda: fail}
    assert await by_both_ways(start_api, requests, options=options) == [200, 503]


@pytest.mark.gen_test
async def test_a_server_that_stops_says_so_on_both_ways(start_api: StartApi) -> None:
    def begin_drain(api: RunningApi) -> None:
        api.in_flight.draining = True

    requests = [get_text(path, headers=ID) for path in (*PROBES, *FILES)]
    statuses = await by_both_ways(start_api, requests, prepare=begin_drain)
    assert statuses == [200, 503, *[200] * len(FILES)]


@pytest.mark.gen_test
async def test_a_server_that_will_stop_soon_is_not_ready_on_both_ways(start_api: StartApi) -> None:
    def announce(api: RunningApi) -> None:
        api.in_flight.is_stop_announced = True

    requests = [get_text(path, headers=ID) for path in PROBES]
    assert await by_both_ways(start_api, requests, prepare=announce) == [200, 503]


@pytest.mark.gen_test
async def test_only_files_count_towards_the_rate_limit_of_the_address(start_api: StartApi) -> None:
    requests = [get_text(path, headers=ID) for path in ("/livez", "/", "/readyz", "/docs", "/livez", "/", "/readyz")]
    options = {"guard": partial(build_guard, RateLimit(2, 60))}
    assert await by_both_ways(start_api, requests, options=options) == [200, 200, 200, 200, 200, 429, 200]


@pytest.mark.gen_test
async def test_conditional_requests_and_other_methods_go_to_tornado(start_api: StartApi) -> None:
    requests = [
        (get_text("/", headers='If-None-Match: "x"\r\n'), 200),
        (get_text("/", headers="If-None-Match: *\r\n"), 304),
        (get_text("/?x=1"), 200),
        (get_text("/livez?x=1"), 200),
        (get_text("/dashboard/nothing.js"), 404),
        (get_text("/livez").replace(b"GET", b"POST"), 405),
        (get_text("/docs").replace(b"GET", b"POST"), 405),
    ]
    ways = WayLog()
    api = await start_api(access_log=ways)
    for request, status in requests:
        async with api.connection() as connection:
            await connection.send(request)
            status_line = await connection.reader.readuntil(b"\r\n")  # a 304 has no Content-Length
            assert int(status_line.split()[1]) == status
    assert ways.ways == {Way.TORNADO}


@pytest.mark.gen_test
async def test_a_file_can_be_requested_between_orders_of_a_pipeline(start_api: StartApi) -> None:
    ways = WayLog()
    api = await start_api(access_log=ways)
    paths = ["/order/1", "/docs/swagger-ui-bundle.js", "/readyz", "/order/2", "/livez"]
    async with api.connection() as connection:
        await connection.send(b"".join(map(get_text, paths)))
        statuses = [(await connection.answer()).status for _ in paths]
    assert statuses == [404, 200, 200, 404, 200]
    assert ways.ways == {Way.LANE}


@pytest.mark.gen_test
async def test_files_and_probes_need_no_key(start_api: StartApi) -> None:
    api = await start_api(guard=build_guard())
    requests = [get_text(path, headers=ID) for path in (*PROBES, *FILES)]
    responses = await served(api, requests)
    assert all(re.match(rb"HTTP/1.1 200 ", response) for response in responses)
    assert (await api.get("/order/1")).status == 401
    assert (await api.get("/order/1", bearer(TOKENS["read"]))).status == 404
