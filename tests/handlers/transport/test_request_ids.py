"""`X-Request-Id`: echoed where it is one, else made."""

import re

import pytest

from tests.handlers.running_api import JSON, RunningApi, get_text, post_text
from tests.models.samples import order_text

MADE = re.compile(r"[0-9a-f]{16}")
PATHS = ["/order/1", "/metrics", "/livez", "/readyz", "/nowhere", "/order"]


@pytest.mark.gen_test
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "given", ["a", "f058ebd6-02f7-4d3f-942e-904344e8cde5", "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~", "x" * 128]
)
async def test_a_request_id_is_given_back_as_it_came(api: RunningApi, path: str, given: str) -> None:
    await api.post(order_text(order_id="1"))
    assert (await api.get(path, {"X-Request-Id": given})).headers["X-Request-Id"] == given


@pytest.mark.gen_test
async def test_a_request_id_is_given_back_with_an_accepted_order(api: RunningApi) -> None:
    answer = await api.post(order_text(), JSON | {"X-Request-Id": "mine"})
    assert (answer.status, answer.headers["X-Request-Id"]) == (202, "mine")


@pytest.mark.gen_test
@pytest.mark.parametrize("path", PATHS)
async def test_without_one_each_request_gets_its_own(api: RunningApi, path: str) -> None:
    await api.post(order_text(order_id="1"))
    made = [(await api.get(path)).headers["X-Request-Id"] for _ in range(3)]
    assert len(set(made)) == 3
    assert all(map(MADE.fullmatch, made))


@pytest.mark.gen_test
@pytest.mark.parametrize("given", ["", " ", "x" * 129, "two words", "tab\there", "caf\xe9", "\xa0", "x" * 4_000])
@pytest.mark.parametrize("path", ["/livez", "/nowhere", "/order/1"])
async def test_what_is_no_request_id_is_replaced(api: RunningApi, path: str, given: str) -> None:
    await api.post(order_text(order_id="1"))
    async with api.connection() as connection:
        await connection.send(get_text(path, headers=f"X-Request-Id: {given}\r\n").decode().encode("latin1"))
        answer = await connection.answer()
    assert MADE.fullmatch(answer.headers["X-Request-Id"])


@pytest.mark.gen_test
@pytest.mark.parametrize("given", [b"a\r\n Set-Cookie: evil=1", b"a\r\n\tSet-Cookie: evil=1", b"a\r\nX-Request-Id: b"])
async def test_a_request_id_brings_no_header_of_its_own_along(api: RunningApi, given: bytes) -> None:
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
@pytest.mark.parametrize("given", [b"a\rSet-Cookie: evil=1", b"a\nSet-Cookie: evil=1", b"a\0b", b"a\x0bb"])
async def test_a_request_id_with_control_characters_never_comes_back(api: RunningApi, given: bytes) -> None:
    async with api.connection() as connection:
        await connection.send(get_text("/livez", headers="X-Request-Id: ?\r\n").replace(b"?", given))
        answer = await connection.answer(has_body=False)
    assert answer.status in (200, 400)
    assert "Set-Cookie" not in answer.headers
    assert given.decode() not in str(answer.headers)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "path", ["/order/%0d%0aSet-Cookie:evil=1", "/%0aLocation:evil", "/<script>", "/caf\xe9", '/"quoted"']
)
async def test_a_path_comes_back_in_a_problem_and_nowhere_else(api: RunningApi, path: str) -> None:
    async with api.connection() as connection:
        await connection.send(get_text(path).decode().encode("latin1"))
        answer = await connection.answer()
    assert answer.status == 404
    assert answer.json["instance"] == path
    assert set(answer.headers) == {"Content-Type", "Content-Length", "Date", "X-Request-Id"}
