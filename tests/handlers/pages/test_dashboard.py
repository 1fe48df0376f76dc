"""`GET /`: the dashboard's page and its files, as the server sends them."""

import re
from pathlib import Path

import pytest

from handlers.pages.dashboard import PAGE, DashboardBrokenError, read_dashboard
from tests.cases import cases
from tests.handlers.conftest import StartApi
from tests.handlers.running_api import RunningApi
from tests.process import ROOT

FOLDER = ROOT / "handlers" / "pages" / "static"
NAMES = sorted({path.name for path in FOLDER.iterdir()} - {PAGE})
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
KEYS = '<meta name="orders-keys" content="{}">'


@pytest.mark.gen_test
async def test_the_page_and_all_files_that_it_links_are_served(shared_api: RunningApi) -> None:
    page = await shared_api.get("/")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.body == (FOLDER / PAGE).read_bytes()
    linked = re.findall(r'(?:src|href)="(dashboard/[^"]+)"', page.body.decode())
    assert linked
    for name in linked:
        assert (name, (await shared_api.get(f"/{name}")).status) == (name, 200)


@cases("path", ["/", *(f"/dashboard/{name}" for name in NAMES)])
@pytest.mark.gen_test
async def test_each_file_has_its_type_its_policy_and_an_etag(shared_api: RunningApi, path: str) -> None:
    first = await shared_api.get(path)
    assert first.status == 200
    assert first.headers["Content-Type"] == TYPES.get(Path(path).suffix, "text/html; charset=utf-8")
    again = await shared_api.get(path, {"If-None-Match": first.headers["ETag"]})
    head = await shared_api.request("HEAD", path)
    assert (again.status, again.body, head.status, head.body) == (304, b"", 200, b"")
    assert int(head.headers["Content-Length"]) == len(first.body)
    for answer in (first, again, head):
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    post = await shared_api.request("POST", path, b"")
    assert (post.status, post.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.gen_test
async def test_a_range_is_ignored(shared_api: RunningApi) -> None:
    answer = await shared_api.get("/dashboard/charts.js", {"Range": "bytes=0-9"})
    assert (answer.status, answer.body) == (200, (FOLDER / "charts.js").read_bytes())


@cases(
    "path",
    [
        *("/dashboard", "/dashboard/", "/dashboard/index.html", "/dashboard/x.js", "/dashboard/../static_content.py"),
        *("/dashboard/%2e%2e/static_content.py", "/dashboard/plotly.min.js", "/index.html"),
    ],
)
@pytest.mark.gen_test
async def test_nothing_else_is_served(shared_api: RunningApi, path: str) -> None:
    answer = await shared_api.get(path)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.gen_test
async def test_the_page_says_whether_the_server_requires_keys(start_api: StartApi) -> None:
    api = await start_api(has_keys=True)
    page = (await api.get("/")).body.decode()
    assert (page.count(KEYS.format("yes")), page.count(KEYS.format("no"))) == (1, 0)
    without = read_dashboard(has_keys=False).page
    assert page == without.plain.body.decode().replace(KEYS.format("no"), KEYS.format("yes"))
    assert (await api.get("/")).headers["ETag"] != without.plain.etag


@pytest.mark.gen_test
async def test_responses_close_the_connection_while_the_server_stops(api: RunningApi) -> None:
    api.in_flight.draining = True
    for path in ("/", "/dashboard/app.js"):
        assert (await api.get(path)).headers["Connection"] == "close"


@pytest.mark.parametrize("page", [None, "<!DOCTYPE html>", KEYS.format("yes"), KEYS.format("no") * 2])
def test_a_page_without_exactly_one_meta_tag_for_keys_is_rejected(tmp_path: Path, page: str | None) -> None:
    if page is not None:
        (tmp_path / PAGE).write_text(page)
    for has_keys in (False, True):
        with pytest.raises(DashboardBrokenError, match=PAGE):
            read_dashboard(has_keys=has_keys, folder=tmp_path)


def test_backup_files_of_an_editor_are_not_served(tmp_path: Path) -> None:
    for name in (PAGE, "app.js", ".app.js.swp", ".app.js", "app.js~", "#app.js#", "README.md"):
        (tmp_path / name).write_text(KEYS.format("no"))
    read = read_dashboard(has_keys=False, folder=tmp_path)
    assert list(read.files) == ["app.js"]
    assert read.types == {"app.js": "text/javascript"}
