"""Which Host headers are accepted, and by which servers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from handlers.security.hosts import AllowedHosts, allowed_hosts, parse_hosts
from tests.cases import cases
from tests.handlers.conftest import StartApi
from tests.handlers.running_api import RunningApi, get_text, post_text
from tests.handlers.security.sample_keys import TOKENS, bearer, build_guard
from tests.models.samples import order_text

LOOPBACK = ["127.0.0.1", "::1"]
HOSTS = allowed_hosts(LOOPBACK, has_keys=False, configured=parse_hosts("Shop.example, [2001:db8::0:1] intranet"))


@cases("name", ["localhost", "127.0.0.1", "[::1]", "shop.example", "[2001:db8::1]"])
@cases("port", ["", ":", ":8080"])
def test_an_allowed_host_may_have_any_port(name: str, port: str) -> None:
    assert HOSTS.allows(name + port)
    assert HOSTS.allows(name.upper() + port)


@cases("host", ["localhost.", "localhost.:8080", "SHOP.Example.", "intranet"])
def test_letter_case_and_the_final_dot_of_a_name_do_not_matter(host: str) -> None:
    assert HOSTS.allows(host)


@cases(
    "host",
    [
        *("", " ", ".", ":", ":8080", "evil.example", "evil.example:8080", "127.0.0.2", "0.0.0.0", "[::]", "[::2]"),  # noqa: S104
        *("localhost.evil.example", "evillocalhost", "localhost..", "127.0.0.1.evil.example", "::1", "[::1", "::1]"),
        *("localhost:8080:8080", "localhost:http", "localhost:\u0661", "localhost@evil.example", "a@localhost"),
        *("localhost/", "localhost,evil.example", "localhost localhost", " localhost", "localhost ", "localhost\n"),
        *("other.shop.example", "shop.example.evil.example", "[::1]evil.example", "[localhost]", "lo\u212aalhost"),
    ],
)
def test_any_other_host_is_not_allowed(host: str) -> None:
    assert not HOSTS.allows(host)


@given(st.text() | st.from_regex(r"[\[\]:.@a-z0-9]*"))
def test_no_text_that_names_another_host_is_allowed(host: str) -> None:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() or host.endswith(":") else host
    assert HOSTS.allows(host) <= (name.lower().removesuffix(".") in {"localhost", "127.0.0.1", "[::1]", "shop.example"})


@cases(
    ("addresses", "has_keys", "configured", "is_checked"),
    [
        (["127.0.0.1"], False, None, True),
        (["127.0.0.1", "::1"], False, None, True),
        (["127.0.0.1"], True, None, False),
        (["0.0.0.0"], False, None, False),  # noqa: S104
        (["::"], False, None, False),
        (["127.0.0.1", "192.0.2.1"], False, None, False),
        (["fe80::1%eth0"], False, None, False),
        (["127.0.0.1"], False, "shop.example", True),
        (["127.0.0.1"], True, "shop.example", True),
        (["0.0.0.0"], False, "shop.example", True),  # noqa: S104
        (["fe80::1%eth0"], True, "shop.example", True),
    ],
)
def test_a_server_without_keys_on_loopback_or_with_the_flag_checks_hosts(
    addresses: list[str], has_keys: bool, configured: str | None, is_checked: bool
) -> None:
    named = configured and parse_hosts(configured)
    hosts = allowed_hosts(addresses, has_keys=has_keys, configured=named or None)
    assert hosts.allows("evil.example") is not is_checked
    assert hosts.allows("localhost:8080")
    assert hosts.allows("shop.example") is (not is_checked or configured is not None)


def test_the_addresses_of_the_server_are_allowed() -> None:
    assert allowed_hosts(["127.0.0.2"], has_keys=False, configured=None).allows("127.0.0.2:8080")
    hosts = allowed_hosts(["fe80::1%eth0", "192.0.2.1"], has_keys=False, configured=parse_hosts("shop.example"))
    assert [hosts.allows(host) for host in ("[fe80::1]", "192.0.2.1:80", "192.0.2.2")] == [True, True, False]


@cases(
    ("text", "hosts"),
    [
        ("shop.example", {"shop.example"}),
        ("Shop.Example.", {"shop.example"}),
        ("a.example,b.example", {"a.example", "b.example"}),
        (" a.example ,\tb.example  c.example,", {"a.example", "b.example", "c.example"}),
        ("10.0.0.1 ::1 [2001:DB8:0:0::1]", {"10.0.0.1", "[::1]", "[2001:db8::1]"}),
    ],
)
def test_a_list_of_hosts_is_separated_by_commas_or_spaces(text: str, hosts: set[str]) -> None:
    assert parse_hosts(text) == hosts


@cases(
    "text", ["", " , ", "a:80", "[::1]:80", "http://a", "a/b", "*", "*.example", "[a]", "::1::2", "a b:1", "b\u00fc.de"]
)
def test_any_other_text_is_not_a_list_of_hosts(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_hosts(text)


@pytest.fixture
def checked() -> AllowedHosts:
    return allowed_hosts(["127.0.0.1"], has_keys=False, configured=None)


@pytest.fixture
def api(start_api: StartApi, checked: AllowedHosts, io_loop: IOLoop) -> RunningApi:
    """An API that checks hosts, and requires no keys."""
    started: RunningApi = io_loop.run_sync(lambda: start_api(guard=build_guard(keys=None, hosts=checked)))
    return started


@cases(
    ("method", "path"),
    [
        *(("GET", path) for path in ("/order/1", "/orders", "/metrics", "/livez", "/readyz", "/", "/docs", "/nothing")),
        *(("GET", path) for path in ("/dashboard/app.js", "/openapi.json", "/orders/events", "/metrics/events")),
        *(("POST", path) for path in ("/order", "/orders", "/orders/retry?status=Failed", "/order/1/cancel", "/livez")),
    ],
)
@pytest.mark.gen_test
async def test_no_path_serves_another_host(api: RunningApi, method: str, path: str) -> None:
    headers = {"Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}
    answer = await api.request(method, path, b"{}" if method == "POST" else None, headers)
    assert (answer.status, answer.headers["Content-Type"]) == (421, "application/problem+json")
    assert (answer.json["type"], answer.json["title"]) == (
        "/problems/misdirected-request",
        "The server does not serve this host",
    )
    assert b"evil" not in answer.body


@pytest.mark.gen_test
async def test_a_request_without_a_host_is_not_served(api: RunningApi) -> None:
    async with api.connection() as connection:
        await connection.send(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert (await connection.answer()).status == 421


@pytest.mark.gen_test
async def test_the_host_is_checked_before_the_key(start_api: StartApi, checked: AllowedHosts) -> None:
    api: RunningApi = await start_api(guard=build_guard(hosts=checked))
    assert (await api.get("/metrics", {"Host": "evil.example"} | bearer(TOKENS["read"]))).status == 421
    assert (await api.get("/metrics", {"Host": "localhost"})).status == 401
    assert (await api.get("/metrics", {"Host": "[::1]:1"} | bearer(TOKENS["read"]))).status == 200


@pytest.mark.parametrize("field", ["", "Expect: nothing\r\n"], ids=["plain", "handed over"])
@pytest.mark.gen_test
async def test_orders_of_another_host_are_neither_stored_nor_shown(
    start_api: StartApi, checked: AllowedHosts, field: str
) -> None:
    api = await start_api(guard=build_guard(keys=None, hosts=checked))
    requests = post_text(order_text(), headers=field) + get_text("/order/12345", headers=field)
    async with api.connection() as connection:
        for host, statuses in (("evil.example", [421, 421]), ("localhost", [202, 200]), ("evil.example", [421, 421])):
            await connection.send(requests.replace(b"Host: test", b"Host: %s" % host.encode()))
            assert [(await connection.answer()).status for _ in statuses] == statuses
