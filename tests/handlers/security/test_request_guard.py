"""The request guard: API keys, scopes and rate limits."""

import hmac
from itertools import pairwise
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from handlers.security.api_keys import Scope
from handlers.security.rate_limit import RateLimit
from handlers.security.request_guard import MAX_ACCEPTED, exposure_warning
from tests.cases import cases
from tests.handlers.conftest import StartApi
from tests.handlers.running_api import JSON, Answer, RunningApi, get_text, post_text
from tests.handlers.security.sample_keys import KEYS, TOKENS, UNKNOWN, bearer, build_guard
from tests.models.samples import order_text

REALM = 'Bearer realm="orders"'
READS = [("GET", "/order/12345"), ("HEAD", "/order/12345"), ("GET", "/metrics"), ("GET", "/order/99")]
READS += [("GET", path) for path in ("/metrics/events?x=1", "/dashboard", "//", "/nowhere?/docs/", "/x/docs/", "/Docs")]
WRITES = [("POST", "/order"), ("POST", "/order/99/cancel"), ("POST", "/order/99/retry"), ("POST", "/nowhere")]
ADMINS = [("POST", f"/{path}") for path in ("orders/retry?status=Failed", "processing/pause", "processing/resume")]
OTHERS = [("DELETE", "/order"), ("PUT", "/order/12345"), ("OPTIONS", "/metrics"), ("BREW", "/nowhere")]


async def ask(api: RunningApi, method: str, path: str, headers: dict[str, str]) -> Answer:
    body = order_text() if method == "POST" else None
    return await api.request(method, path, body, headers=headers | (JSON if body else {}))


def assert_refused(answer: Answer, status: int, kind: str, challenge: str | None) -> None:
    assert (answer.status, answer.headers.get("WWW-Authenticate")) == (status, challenge)
    assert answer.headers["Content-Type"] == "application/problem+json"
    if answer.body:
        assert answer.json["type"] == f"/problems/{kind}"
        assert answer.json["request_id"] == answer.headers["X-Request-Id"]
        assert all(token not in answer.body.decode() for token in [*TOKENS.values(), UNKNOWN])


@pytest.fixture
def api(start_api: StartApi, io_loop: IOLoop) -> RunningApi:
    """An API that requires keys."""
    started: RunningApi = io_loop.run_sync(lambda: start_api(guard=build_guard()))
    return started


@pytest.mark.gen_test
async def test_without_a_key_every_path_is_a_401(api: RunningApi) -> None:
    for method, path in READS + WRITES + ADMINS + OTHERS:
        assert_refused(await ask(api, method, path, {}), 401, "unauthorized", REALM)
    assert (await api.get("/order/12345", bearer(TOKENS["read"]))).status == 404


@pytest.mark.gen_test
async def test_probes_need_no_key(start_api: StartApi) -> None:
    api = await start_api(guard=build_guard(RateLimit(1, 3_600)))
    for path in ("/livez", "/readyz", "/livez?x=1", "/readyz"):
        answer = await api.get(path)
        assert answer.status == 200
        assert "RateLimit" not in answer.headers
    for path in ("/livez/", "//livez", "/readyz/x", "/livez%20"):
        assert (await api.get(path)).status in (401, 429)


@pytest.mark.gen_test
async def test_pages_and_their_files_need_no_key(api: RunningApi) -> None:
    for path in ("/", "/?x=1", "/dashboard/app.js", "/docs", "/docs/swagger-ui.css", "/openapi.json"):
        for headers in ({}, bearer(UNKNOWN), bearer(TOKENS["read"])):
            assert (path, (await api.get(path, headers)).status) == (path, 200)
    for path in ("/dashboard/nothing", "/docs/nothing"):
        assert (await api.get(path)).status == 404


@pytest.mark.gen_test
async def test_requests_for_pages_count_towards_the_limit_of_the_address(start_api: StartApi) -> None:
    paths = ("/", "/dashboard/app.js", "/docs", "/docs/swagger-ui.css", "/openapi.json", "/dashboard/nothing")
    for keys in (KEYS, None):
        api = await start_api(guard=build_guard(RateLimit(len(paths), 60), keys=keys))
        key = bearer(TOKENS["read"])
        answers = [await api.get(path, key) for path in (*paths, *paths)]
        assert [answer.status for answer in answers] == [200] * 5 + [404] + [429] * 6
        assert answers[0].headers["RateLimit"] == '"default";r=5;t=10'
        assert "for each address" in answers[-1].json["detail"]
        # The key has a limit of its own.
        assert (await api.get("/metrics", key)).status == (200 if keys else 429)
        assert (await api.get("/livez")).status == 200


@pytest.mark.gen_test
@cases(
    ("value", "is_token"),
    [
        (f"Bearer {UNKNOWN}", True),
        ("Bearer x", True),
        (f"Bearer {TOKENS['admin'][:-1]}", True),
        (f"Bearer {TOKENS['admin']}x", True),
        (f"Bearer {TOKENS['admin'].swapcase()}", True),
        (f"Bearer {TOKENS['read']} {TOKENS['admin']}", True),
        ("Bearer caf\xe9", True),
        ("Bearer " + "x" * 10_000, True),
        ("Bearer", False),
        ("Bearer ", False),
        ("", False),
        (TOKENS["admin"], False),
        (f"Basic {TOKENS['admin']}", False),
        (f"Bearer\t{TOKENS['admin']}", False),
    ],
)
async def test_an_unknown_key_is_a_401(api: RunningApi, value: str, is_token: bool) -> None:
    text = get_text("/order/1", headers=f"Authorization: {value}\r\n").decode().encode("latin1")
    async with api.connection() as connection:
        await connection.send(text)
        challenge = f'{REALM}, error="invalid_token"' if is_token else REALM
        assert_refused(await connection.answer(), 401, "unauthorized", challenge)


@pytest.mark.gen_test
@cases("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
async def test_the_scheme_is_case_insensitive(api: RunningApi, scheme: str) -> None:
    assert (await api.get("/metrics", {"Authorization": f"{scheme} {TOKENS['read']}"})).status == 200


@pytest.mark.gen_test
async def test_two_authorization_headers_are_a_401(api: RunningApi) -> None:
    both = "".join(f"Authorization: Bearer {TOKENS[word]}\r\n" for word in ("admin", "read"))
    async with api.connection() as connection:
        await connection.send(get_text("/metrics", headers=both))
        assert (await connection.answer()).status == 401


@pytest.mark.gen_test
async def test_each_scope_includes_only_the_lower_ones(api: RunningApi) -> None:
    for needed, requests in {"read": READS + OTHERS, "write": WRITES, "admin": ADMINS}.items():
        for scope in Scope:
            for method, path in requests:
                answer = await ask(api, method, path, bearer(TOKENS[scope.label]))
                if scope >= Scope[needed.upper()]:
                    assert answer.status not in (401, 403), (scope, method, path)
                    assert "WWW-Authenticate" not in answer.headers
                else:
                    challenge = f'{REALM}, error="insufficient_scope", scope="{needed}"'
                    assert_refused(answer, 403, "forbidden", challenge)


@pytest.mark.gen_test
async def test_a_rejected_request_changes_nothing(api: RunningApi) -> None:
    for headers in ({}, bearer(UNKNOWN), bearer(TOKENS["read"])):
        assert (await api.post(order_text(), JSON | headers)).status in (401, 403)
    assert (await api.get("/order/12345", bearer(TOKENS["read"]))).status == 404
    assert (await api.post(order_text(), JSON | bearer(TOKENS["write"]))).status == 202


@pytest.mark.gen_test
async def test_the_connection_can_be_used_after_a_rejected_body(api: RunningApi) -> None:
    good = f"Authorization: Bearer {TOKENS['write']}\r\n"
    chunked = "POST /order HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    async with api.connection() as connection:
        await connection.send(post_text(order_text()) + post_text(b"x" * 100_000) + chunked.encode())
        assert [(await connection.answer()).status for _ in range(3)] == [401, 401, 401]
        await connection.send(post_text(order_text(), headers=good) + get_text("/order/12345", headers=good))
        assert [(await connection.answer()).status for _ in range(2)] == [202, 200]


@pytest.mark.parametrize("token", [TOKENS["read"], TOKENS["admin"], UNKNOWN, "x", "x" * 1_000])
@pytest.mark.gen_test
async def test_all_keys_are_compared_even_if_one_matches(start_api: StartApi, token: str) -> None:
    compared: list[bytes] = []

    def compare_digest(given: bytes, known: bytes) -> bool:
        compared.append(known)
        return hmac.compare_digest(given, known)

    api = await start_api(guard=build_guard(compare_digest=compare_digest))
    assert (await api.get("/metrics", bearer(token))).status == (200 if token in TOKENS.values() else 401)
    assert compared == [key.digest for key in KEYS]


@pytest.mark.gen_test
async def test_a_known_key_is_accepted_until_the_keys_are_replaced(start_api: StartApi) -> None:
    guard = build_guard()
    api = await start_api(guard=guard)
    statuses = [(await api.get("/metrics", bearer(TOKENS["read"]))).status for _ in range(2)]
    guard.replace_keys([key for key in KEYS if key.scope is not Scope.READ])
    statuses += [(await api.get("/metrics", bearer(TOKENS[scope]))).status for scope in ("read", "write", "read")]
    assert statuses == [200, 200, 401, 200, 401]


@pytest.mark.gen_test
async def test_a_client_can_send_a_key_in_any_number_of_ways(api: RunningApi) -> None:
    async with api.connection() as connection:
        for spaces in range(1, MAX_ACCEPTED + 3):
            header = f"Authorization: Bearer{' ' * spaces}{TOKENS['read']}\r\n"
            await connection.send(get_text("/order/1", headers=header))
            assert (await connection.answer()).status == 404
    assert (await api.get("/order/1", bearer(UNKNOWN))).status == 401


@pytest.mark.gen_test
async def test_every_response_has_ratelimit_headers(start_api: StartApi) -> None:
    api = await start_api(guard=build_guard(RateLimit(8, 60)))
    write = bearer(TOKENS["write"])
    answers = [
        await api.post(order_text(), JSON | write),
        await api.get("/order/12345", write),
        await api.request("HEAD", "/order/12345", headers=write),
        await api.get("/order/99", write),
        await api.get("/metrics", write),
        await api.post(b"{", JSON | write),
        await api.request("DELETE", "/order", headers=write),
        await ask(api, "POST", "/orders/retry", write),
        await api.get("/metrics", write),
    ]
    assert [answer.status for answer in answers] == [202, 200, 200, 404, 200, 400, 405, 403, 429]
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"default";q=8;w=60'}
    assert [answer.headers["RateLimit"] for answer in answers] == [
        f'"default";r={left};t=8' for left in (7, 6, 5, 4, 3, 2, 1, 0, 0)
    ]
    assert all(answer.headers.get_list("RateLimit-Policy") == ['"default";q=8;w=60'] for answer in answers)


@pytest.mark.gen_test
@pytest.mark.parametrize(("method", "path"), [("POST", "/order"), ("GET", "/order/12345"), ("GET", "/metrics")])
async def test_a_request_over_the_limit_is_a_429_with_retry_after(start_api: StartApi, method: str, path: str) -> None:
    now_ns = 0
    api = await start_api(guard=build_guard(RateLimit(2, 60), clock_ns=lambda: now_ns))
    answers = [await ask(api, method, path, bearer(TOKENS["write"])) for _ in range(3)]
    assert all(answer.status != 429 for answer in answers[:2])
    assert_refused(answers[2], 429, "rate-limited", None)
    assert answers[2].headers["Retry-After"] == "30"
    assert (await ask(api, method, path, bearer(TOKENS["admin"]))).status != 429
    now_ns = 30_000_000_000
    assert (await ask(api, method, path, bearer(TOKENS["write"]))).status != 429


@pytest.mark.gen_test
async def test_servers_on_one_database_divide_the_limits(start_api: StartApi) -> None:
    class Servers:
        living_servers = 2

    api = await start_api(guard=build_guard(RateLimit(4, 60), servers=Servers()))
    answers = [await api.get("/order/1", bearer(TOKENS["read"])) for _ in range(3)]
    assert [answer.status for answer in answers] == [404, 404, 429]
    assert [answer.headers["RateLimit"] for answer in answers[:2]] == ['"default";r=1;t=30', '"default";r=0;t=30']
    detail = "The limit is 4 requests a minute for each key, divided among 2 servers; nothing was changed."
    assert answers[2].json["detail"] == detail
    assert answers[2].headers["Retry-After"] == "30"
    answers = [await api.get("/order/1", bearer(UNKNOWN)) for _ in range(3)]
    assert [answer.status for answer in answers] == [401, 401, 429]
    # When the other server has ended, this one has the whole limit. The requests that this server has allowed count
    # twice, because the other server has probably allowed as many.
    Servers.living_servers = 1
    assert (await api.get("/order/1", bearer(TOKENS["read"]))).status == 429
    answers = [await api.get("/order/1", bearer(TOKENS["write"])) for _ in range(5)]
    assert [answer.status for answer in answers] == [404, 404, 404, 404, 429]


@pytest.mark.gen_test
async def test_invalid_keys_count_towards_the_limit_of_the_address_only(start_api: StartApi) -> None:
    api = await start_api(guard=build_guard(RateLimit(3, 60)))
    given = [{}, bearer(UNKNOWN), bearer("x"), bearer(UNKNOWN), {}]
    assert [(await api.get("/metrics", headers)).status for headers in given] == [401, 401, 401, 429, 429]
    assert [(await api.get("/metrics", bearer(TOKENS["read"]))).status for _ in range(4)] == [200, 200, 200, 429]


@pytest.mark.gen_test
async def test_without_keys_each_address_has_its_own_limit(start_api: StartApi) -> None:
    address = "127.0.0.1"
    limited = build_guard(RateLimit(1, 60), keys=None)

    class Readdressed:
        def admit(self, head: Any) -> None:
            head.connection.context.remote_ip = address
            limited.admit(head)

    api = await start_api(guard=Readdressed())
    for given, is_allowed in [
        ("192.0.2.1", True),
        ("192.0.2.1", False),
        ("192.0.2.2", True),
        ("2001:db8:0:1::1", True),
        ("2001:db8:0:1:ffff::2", False),
        ("2001:db8:0:2::1", True),
        ("::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.3", True),
        ("fe80::1%eth0", True),
        ("fe80::2%eth1", False),
    ]:
        address = given
        answer = await api.get("/metrics")
        assert (answer.status == 200) is is_allowed
        assert answer.headers["RateLimit"] == '"default";r=0;t=60'
    assert "for each address" in (await api.get("/metrics")).json["detail"]


@pytest.mark.gen_test
async def test_a_429_does_not_close_the_connection(start_api: StartApi) -> None:
    api = await start_api(guard=build_guard(RateLimit(1, 60), keys=None))
    async with api.connection() as connection:
        await connection.send(post_text(order_text()) * 3 + get_text("/livez"))
        answers = [await connection.answer() for _ in range(4)]
    assert [answer.status for answer in answers] == [202, 429, 429, 200]
    assert all("Connection" not in answer.headers for answer in answers)


@cases(
    ("address", "has_keys", "has_tls", "warning"),
    [
        ("127.0.0.1", False, False, None),
        ("127.0.0.53", True, False, None),
        ("::1", False, True, None),
        ("0.0.0.0", False, False, "anyone who can reach"),  # noqa: S104 - nothing listens there
        ("::", False, True, "anyone who can reach"),
        ("192.0.2.1", True, False, "in the clear"),
        ("fe80::1%eth0", True, False, "in the clear"),
        ("::", True, True, None),
    ],
)
def test_listening_on_the_network_without_protection_gives_a_warning(
    address: str, has_keys: bool, has_tls: bool, warning: str | None
) -> None:
    text = exposure_warning([address], has_keys=has_keys, has_tls=has_tls)
    assert text is None if warning is None else warning in (text or "")


def test_scopes_are_ordered() -> None:
    assert all(lower < higher for lower, higher in pairwise(Scope))
