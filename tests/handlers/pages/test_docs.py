"""`GET /docs`: the page and its files."""

import re

import pytest

from handlers.pages.docs import ASSETS, FILES, FOLDER, assets_folder
from tests.cases import cases
from tests.handlers.running_api import RunningApi

PAGE = (FOLDER / "index.html").read_bytes()
SCRIPT = (FOLDER / "initializer.js").read_bytes()


def linked() -> list[str]:
    """The URLs that the page loads, and the URLs that its script requests."""
    return re.findall(r'(?:href|src)="([^"]+)"', PAGE.decode()) + re.findall(r'url: "([^"]+)"', SCRIPT.decode())


@pytest.mark.gen_test
async def test_the_page_loads_only_files_of_this_server(shared_api: RunningApi) -> None:
    page = await shared_api.get("/docs")
    assert (page.status, page.headers["Content-Type"], page.body) == (200, "text/html; charset=utf-8", PAGE)
    assert "://" not in (PAGE + SCRIPT).decode()
    assert {name.removeprefix("docs/") for name in linked()} == {*FILES, "openapi.json"}
    for name in linked():
        assert (name, (await shared_api.get(f"/{name}")).status) == (name, 200)


@pytest.mark.gen_test
async def test_the_page_forbids_inline_scripts_and_scripts_of_other_origins(shared_api: RunningApi) -> None:
    policy = (await shared_api.get("/docs")).headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "script-src" not in policy
    assert re.findall(r"<script(?! src=)|\son\w+=|\sstyle=", PAGE.decode()) == []


@cases("name", FILES)
@pytest.mark.gen_test
async def test_a_file_has_its_type_and_an_etag(shared_api: RunningApi, name: str) -> None:
    first = await shared_api.get(f"/docs/{name}")
    assert (first.status, first.headers["Content-Type"]) == (200, FILES[name])
    assert first.headers["X-Content-Type-Options"] == "nosniff"
    assert first.body == ((assets_folder() if name in ASSETS else FOLDER) / name).read_bytes()
    again = await shared_api.get(f"/docs/{name}", headers={"If-None-Match": first.headers["ETag"], "X-Request-Id": "a"})
    assert (again.status, again.body, again.headers["X-Request-Id"]) == (304, b"", "a")
    head = await shared_api.request("HEAD", f"/docs/{name}")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(first.body)))


@cases(
    "path", ["/docs/", "/docs/LICENSE", "/docs/swagger-ui.js", "/docs/../server.py", "/docs/%2e%2e/core.py", "/docs/x"]
)
@pytest.mark.gen_test
async def test_nothing_else_is_served(shared_api: RunningApi, path: str) -> None:
    answer = await shared_api.get(path)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.gen_test
async def test_a_range_is_ignored(shared_api: RunningApi) -> None:
    for wanted in ("bytes=0-9", "bytes=99999999-", "bytes=-", "lines=1"):
        answer = await shared_api.get("/docs/swagger-ui.css", headers={"Range": wanted})
        assert (wanted, answer.status) == (wanted, 200)
        assert len(answer.body) == int(answer.headers["Content-Length"]) > 100_000


@pytest.mark.gen_test
async def test_responses_close_the_connection_while_the_server_stops(api: RunningApi) -> None:
    api.in_flight.draining = True
    for path in ("/docs", "/docs/favicon-32x32.png", "/openapi.json"):
        assert (await api.get(path)).headers["Connection"] == "close"
