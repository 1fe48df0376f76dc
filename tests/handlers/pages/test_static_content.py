"""Responses with static files: compression, ETags and caching."""

import gzip

import pytest

from handlers.pages.docs import read_docs
from handlers.pages.static_content import accepts_gzip, static_content
from tests.cases import cases
from tests.handlers.running_api import RunningApi

PATHS = ("/", "/dashboard/app.js", "/docs", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/openapi.json")
GZIP = {"Accept-Encoding": "gzip"}


@cases("path", PATHS)
@pytest.mark.gen_test
async def test_a_client_that_accepts_gzip_gets_the_same_content_compressed(shared_api: RunningApi, path: str) -> None:
    plain, compressed = await shared_api.get(path), await shared_api.get(path, GZIP)
    assert (plain.status, compressed.status) == (200, 200)
    assert "Content-Encoding" not in plain.headers
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(compressed.body) == plain.body
    assert len(compressed.body) < len(plain.body)
    assert plain.headers["Etag"] != compressed.headers["Etag"]
    for answer in (plain, compressed):
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.headers["Content-Length"] == str(len(answer.body))
        assert answer.headers["Content-Type"] == plain.headers["Content-Type"]
    head = await shared_api.request("HEAD", path, headers=GZIP)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == compressed.headers["Content-Length"]


@pytest.mark.parametrize("encodings", [{}, GZIP], ids=["plain", "gzip"])
@pytest.mark.gen_test
async def test_each_encoding_is_cached_separately(shared_api: RunningApi, encodings: dict[str, str]) -> None:
    first = await shared_api.get("/docs/swagger-ui.css", encodings)
    other = await shared_api.get("/docs/swagger-ui.css", {} if encodings else GZIP)
    again = await shared_api.get("/docs/swagger-ui.css", encodings | {"If-None-Match": first.headers["Etag"]})
    assert (again.status, again.body, again.headers["Etag"]) == (304, b"", first.headers["Etag"])
    assert (again.headers["Vary"], again.headers["Cache-Control"]) == ("Accept-Encoding", "no-cache")
    assert "Content-Encoding" not in again.headers
    changed = await shared_api.get("/docs/swagger-ui.css", encodings | {"If-None-Match": other.headers["Etag"]})
    assert changed.status == 200
    both = f"{other.headers['Etag']}, {first.headers['Etag']}"
    assert (await shared_api.get("/docs/swagger-ui.css", encodings | {"If-None-Match": both})).status == 304


@pytest.mark.gen_test
async def test_a_connection_can_be_used_again_after_a_long_response(shared_api: RunningApi) -> None:
    request = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: test\r\n%s\r\n"
    async with shared_api.connection() as connection:
        await connection.send(request % b"" + request % b"Accept-Encoding: gzip\r\n" + request % b"")
        answers = [await connection.answer() for _ in range(3)]
    assert answers[0].body == gzip.decompress(answers[1].body) == answers[2].body


def test_content_that_compression_makes_longer_is_not_compressed() -> None:
    assert static_content(b"a", "text/plain").gzipped is None
    assert read_docs().files["favicon-32x32.png"].gzipped is None


def test_the_files_are_not_compressed_again_for_another_server() -> None:
    first, second = (read_docs().files["swagger-ui-bundle.js"].gzipped for _ in range(2))
    assert first
    assert second
    assert first.body is second.body


@cases(
    ("accept_encoding", "is_accepted"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        (" deflate ,\tgzip ; q=0.001 ", True),
        ("*", True),
        ("gzip;q=0.5, identity;q=0.5", True),
        ("", False),
        ("identity", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("*, gzip;q=0", False),
        ("*;q=0", False),
        ("gzip;q=0.5, identity", False),
        ("gzip;q=2", False),
        ("gzip;q", False),
        ("gzip;level=9", False),
        ("gzipped", False),
        ("gzip" + " " * 100_000, False),
    ],
)
def test_gzip_is_sent_to_clients_that_accept_it(accept_encoding: str, is_accepted: bool) -> None:
    assert accepts_gzip(accept_encoding) is is_accepted
