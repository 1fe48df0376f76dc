"""`X-Request-Id`: echoed if it is valid, otherwise generated."""

import re

import pytest

from tests.cases import cases
from tests.handlers.running_api import JSON, RunningApi, get_text, post_text
from tests.models.samples import order_text

MADE = re.compile(r"[0-9a-f]{16}")
PATHS = ["/order/1", "/metrics", "/livez", "/readyz", "/nowhere", "/order"]


@pytest.mark.gen_test
@cases("path", PATHS)
@cases("given", ["a", "f058ebd6-02f7-4d3f-942e-904344e8cde5", "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~", "x" * 128])
async def test_a_valid_request_id_is_echoed(api: RunningApi, path: str, given: str) -> None:
    await api.post(order_text(order_id="1"))
    assert (await api.get(path, {"X-Request-Id": given})).headers["X-Request-Id"] == given


@pytest.mark.gen_test
async def test_a_request_id_is_echoed_with_a_202(api: RunningApi) -> None:
    answer = await api.post(order_text(), JSON | {"X-Request-Id": "mine"})
    assert (answer.status, answer.headers["X-Request-Id"]) == (202, "mine")


@pytest.mark.gen_test
@cases("path", PATHS)
async def test_without_a_request_id_each_request_gets_a_new_one(api: RunningApi, path: str) -> None:
    await api.post(order_text(order_id="1"))
    made = [(await api.get(path)).headers["X-Request-Id"] for _ in range(3)]
    assert len(set(made)) == 3
    assert all(map(MADE.fullmatch, made))


@pytest.mark.gen_test
@cases("given", ["", " ", "x" * 129, "two words", "tab\there", "caf\xe9", "\xa0", "x" * 4_000])
@cases("path", ["/livez", "/nowhere", "/order/1"])
async def test_an_invalid_request_id_is_replaced(api: RunningApi, path: str, given: str) -> None:
    await api.post(order_text(order_id="1"))
    async with api.connection() as connection:
        await connection.send(get_text(path, headers=f"X-Request-Id: {given}\r\n").decode().encode("latin1"))
        answer = await connection.answer()
    assert MADE.fullmatch(answer.headers["X-Request-Id"])


@pytest.mark.gen_test
@pytest.mark.parametrize("given", [b"a\r\n Set-Cookie: evil=1", b"a\r\n\tSet-Cookie: evil=1", b"a\r\nX-Request-Id: b"])
async def test_a_request_id_cannot_inject_headers(api: RunningApi, given: bytes) -> None:
    for request in (
        get_text("/livez", headers="X-Request-Id: ?\r\n"),
        post_text(order_text(), headers="X-Request-Id: ?\r\n"),
    ):
        async with api.connection() as connection:
            await connection.send(request.replace(b"?", given))
            answer = await connection.answer(has_body=False)
        assert answer.status in (200, 202, 400)
        assert "Set-Cookie" not in answer.headers
        assert "Set-Cookie" not in answer.headers.get("X-Request-Id", "")


@pytest.mark.gen_test
@cases("given", [b"a\rSet-Cookie: evil=1", b"a\nSet-Cookie: evil=1", b"a\0b", b"a\x0bb"])
async def test_a_request_id_with_control_characters_is_not_echoed(shared_api: RunningApi, given: bytes) -> None:
    async with shared_api.connection() as connection:
        await connection.send(get_text("/livez", headers="X-Request-Id: ?\r\n").replace(b"?", given))
        answer = await connection.answer(has_body=False)
    assert answer.status in (200, 400)
    assert "Set-Cookie" not in answer.headers
    assert given.decode() not in str(answer.headers)


@pytest.mark.gen_test
@cases("path", ["/order/%0d%0aSet-Cookie:evil=1", "/%0aLocation:evil", "/<script>", "/caf\xe9", '/"quoted"'])
async def test_a_path_is_echoed_only_in_the_problem(shared_api: RunningApi, path: str) -> None:
    async with shared_api.connection() as connection:
        await connection.send(get_text(path).decode().encode("latin1"))
        answer = await connection.answer()
    assert answer.status == 404
    assert answer.json["instance"] == path
    assert set(answer.headers) == {"Content-Type", "Content-Length", "Date", "X-Request-Id"}
