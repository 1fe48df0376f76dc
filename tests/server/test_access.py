"""API keys, rate limits, HTTPS and the access log of a real server."""

import json
import re
import socket
import ssl
import struct
from contextlib import closing
from pathlib import Path

import pytest

from handlers.transport.tls import TlsRefusedError, load_tls
from server import parse_settings
from tests.process import Client, ServerProcess, need, order, run_server, wait_until
from tests.server.access import ask, curl, https_server, make_key

pytestmark = pytest.mark.slow


def test_a_new_key_is_printed_and_no_server_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = tmp_path / "orders.db"
    status, stdout, stderr = run_server("--database", str(database), "--new-api-key", "shop", "--scope", "admin")
    assert (status, stderr) == (0, "")
    said, key, _, explained, line = stdout.splitlines()
    assert re.fullmatch(r"orderskey_[A-Za-z0-9_-]{43}", key)
    assert re.fullmatch(r"shop admin [0-9a-f]{64}", line)
    assert "Authorization: Bearer" in said
    assert "--api-keys" in explained
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SystemExit) as exit_:
        parse_settings(["--new-api-key", "shop"], {})
    assert exit_.value.code == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("shop read ")


@pytest.mark.parametrize(
    "flags",
    [
        ["--scope", "write"],
        ["--new-api-key", "shop", "--scope", "owner"],
        ["--new-api-key", "two words"],
        ["--new-api-key", "a#b"],
        ["--new-api-key", ""],
        ["--allowed-hosts", "shop.example:8080"],
        ["--allowed-hosts", ""],
        ["--rate-limit", "0/s"],
        ["--rate-limit", "100"],
        ["--tls-cert", "cert.pem"],
        ["--tls-key", "key.pem"],
        ["--access-log=perhaps"],
        ["--log-format", "xml"],
    ],
    ids=" ".join,
)
def test_bad_or_incomplete_flags_end_with_status_2(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse_settings(flags, {})
    assert exit_.value.code == 2
    shown = capsys.readouterr()
    assert any(flag.partition("=")[0] in shown.err.splitlines()[-1] for flag in flags if flag.startswith("--"))
    assert shown.out == ""


@pytest.mark.parametrize("flags", [["--scop", "?"], ["--api-key=?"], ["--api-key?"], ["--port", "?"], ["?"]], ids=str)
def test_a_key_in_a_wrong_argument_is_not_printed(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    key = "orderskey_" + "k" * 43
    with pytest.raises(SystemExit):
        parse_settings([flag.replace("?", key) for flag in flags], {})
    assert "kkk" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("value", "is_on"), [("1", True), ("true", True), ("YES", True), ("0", False), ("False", False), ("no", False)]
)
def test_the_environment_can_turn_the_access_log_on_or_off(value: str, is_on: bool) -> None:
    assert parse_settings([], {"ORDERS_ACCESS_LOG": value}).http.access_log is is_on
    assert parse_settings(["--access-log"], {"ORDERS_ACCESS_LOG": value}).http.access_log
    assert not parse_settings(["--access-log=no"], {"ORDERS_ACCESS_LOG": value}).http.access_log


@pytest.mark.parametrize(("flags", "status"), [((), 421), (("--allowed-hosts", "a.example,shop.example"), 200)])
def test_only_allowed_hosts_are_served_without_keys(tmp_path: Path, flags: tuple[str, ...], status: int) -> None:
    with ServerProcess(tmp_path / "orders.db", *flags) as server, server.client() as client:
        for host, expected in (("shop.example", status), ("evil.example", 421), (f"localhost:{server.port}", 200)):
            client.request("GET", "/orders", headers={"Host": host, "Sec-Fetch-Site": "same-origin"})
            assert (host, client.answer().status) == (host, expected)


def test_the_environment_can_set_the_allowed_hosts() -> None:
    named = parse_settings([], {"ORDERS_ALLOWED_HOSTS": "a.example b.example"}).http.allowed_hosts
    assert named == frozenset({"a.example", "b.example"})
    assert parse_settings([], {"ORDERS_ALLOWED_HOSTS": ""}).http.allowed_hosts is None


@pytest.mark.parametrize("value", ["perhaps", "2"])
def test_a_bad_boolean_in_the_environment_ends_with_status_2(value: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse_settings([], {"ORDERS_ACCESS_LOG": value})
    assert exit_.value.code == 2


def test_a_bad_key_file_is_a_one_line_error_and_no_file_is_created(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("shop write orderskey_" + "k" * 43)
    status, stdout, stderr = run_server(
        "--port", "0", "--database", str(tmp_path / "orders.db"), "--api-keys", str(keys)
    )
    assert (status, stdout) == (1, "")
    assert stderr == f"server.py: {keys}, line 1: the SHA-256 is not 64 hexadecimal digits\n"
    assert list(tmp_path.iterdir()) == [keys]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_keys_allow_what_their_scope_says_and_are_never_logged(tmp_path: Path, log_format: str) -> None:
    file = tmp_path / "keys"
    reader, writer, admin = (make_key(file, name, name) for name in ("read", "write", "admin"))
    stranger = make_key(tmp_path / "other keys", "stranger", "admin")
    body = json.dumps(order(1)).encode()
    flags = ["--api-keys", str(file), "--access-log", "--log-format", log_format]
    with ServerProcess(tmp_path / "orders.db", *flags) as server:
        assert [
            ask(server, "GET", "/livez", None).status,
            ask(server, "GET", "/order/1", None).status,
            ask(server, "POST", "/order", stranger, body).status,
            ask(server, "POST", "/order", reader, body).status,
            ask(server, "POST", "/order", writer, body).status,
            ask(server, "GET", "/order/1", reader).status,
            ask(server, "POST", "/orders/retry?status=Failed", writer).status,
            ask(server, "POST", "/orders/retry?status=Failed", admin).status,
            ask(server, "GET", f"/order/1?key={writer}", reader).status,
            ask(server, "GET", f"/{admin}", reader).status,
            ask(server, "GET", "/metrics", f"{reader}, {admin}").status,
            ask(server, "BREW", "/metrics", stranger).status,
        ] == [200, 401, 401, 403, 202, 200, 403, 200, 200, 404, 401, 401]
        with closing(socket.create_connection(("127.0.0.1", server.port))) as connection:
            connection.sendall(f"GET /metrics HTTP/1.1\r\nAuthorization {writer}\r\n\r\n".encode())
            assert b" 400 " in connection.recv(4_096)
        assert server.stop() == 0
    for key in (reader, writer, admin, stranger):
        assert key not in server.log
        assert key.removeprefix("orderskey_") not in server.log
    lines = [line for line in server.log.splitlines() if "/metrics" in line or "/order" in line]
    if log_format == "json":
        assert {"time", "level", "message"} <= set.intersection(*(set(json.loads(each)) for each in lines))
        assert [json.loads(each) for each in server.log.splitlines()]
        assert [json.loads(each)["key"] for each in lines if "status" in json.loads(each)][:4] == [
            "-",
            "-",
            "read",
            "write",
        ]
    else:
        line = r" INFO request method=POST path=/order status=202 bytes=71 ms=\S+ .* key=write order_id=1$"
        assert re.search(line, server.log, re.MULTILINE)


def test_without_keys_the_rate_limit_is_per_address(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db", "--rate-limit", "2/h") as server, server.client() as client:
        answers = [client.post(order(number)) for number in (1, 2, 3)]
        assert [answer.status for answer in answers] == [202, 202, 429]
        assert answers[0].headers["RateLimit-Policy"] == '"default";q=2;w=3600'
        assert answers[0].headers["RateLimit"] == '"default";r=1;t=1800'
        assert 1_700 < int(answers[2].headers["Retry-After"]) <= 1_800
        assert client.ask("GET", "/readyz").status == 200


def test_https_is_served_with_the_given_certificate(tmp_path: Path, pems: Path) -> None:
    need("curl")
    with https_server(tmp_path, pems) as server:
        url = f"https://127.0.0.1:{server.port}"
        trusted = ["--cacert", str(pems / "cert.pem")]
        sent = curl(*trusted, "-H", "Content-Type: application/json", "-d", json.dumps(order(1)), f"{url}/order")
        assert json.loads(sent.stdout)["order_id"] == "1"
        assert json.loads(curl(*trusted, "--tls-max", "1.2", f"{url}/order/1").stdout)["order_id"] == 1
        assert curl(*trusted, "--tlsv1.0", "--tls-max", "1.1", f"{url}/livez").returncode != 0
        assert curl("--cacert", str(pems / "other-cert.pem"), f"{url}/livez").returncode == 60
        assert f"listening on {url} " in server.log


@pytest.mark.parametrize(
    ("certificate", "key", "reason"),
    [
        ("cert.pem", "other-key.pem", "other-key.pem does not match the certificate in "),
        ("cert.pem", "locked-key.pem", "without a passphrase"),
        ("key.pem", "cert.pem", "are not a certificate and its private key"),
        ("nowhere.pem", "key.pem", "nowhere.pem can't be read: No such file or directory"),
    ],
)
def test_an_unusable_certificate_is_refused(pems: Path, certificate: str, key: str, reason: str) -> None:
    with pytest.raises(TlsRefusedError) as refusal:
        load_tls(pems / certificate, pems / key)
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_bad_certificate_is_a_one_line_error_and_no_file_is_created(tmp_path: Path, pems: Path) -> None:
    files = ["--tls-cert", str(pems / "cert.pem"), "--tls-key", str(pems / "other-key.pem")]
    status, stdout, stderr = run_server("--port", "0", "--database", str(tmp_path / "orders.db"), *files)
    assert (status, stdout) == (1, "")
    assert re.fullmatch(r"server\.py: [^\n]+\n", stderr), stderr
    assert list(tmp_path.iterdir()) == []


def test_clients_without_tls_do_not_disturb_others(tmp_path: Path, pems: Path) -> None:
    need("curl")
    with https_server(tmp_path, pems) as server:
        before = server.open_files()
        with closing(Client(server.port)) as client, pytest.raises(OSError):  # noqa: PT011 - reset or closed
            client.post(order(1))
        for sent in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00"):
            for _ in range(20):
                connection = socket.create_connection(("127.0.0.1", server.port))
                connection.sendall(sent)
                # With this option close() resets the connection, often before the server has accepted it.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
        # A client that does not complete its handshake does not delay the others.
        with closing(socket.create_connection(("127.0.0.1", server.port))):
            url = f"https://127.0.0.1:{server.port}/livez"
            assert curl("--cacert", str(pems / "cert.pem"), url).stdout == '{"status":"ok"}'
        wait_until(lambda: server.open_files() <= before)
        assert server.stop() == 0
    assert "Traceback" not in server.log
    assert "ERROR" not in server.log


def test_a_connection_over_tls_is_kept_alive(tmp_path: Path, pems: Path) -> None:
    with https_server(tmp_path, pems, "--access-log") as server:
        context = ssl.create_default_context(cafile=pems / "cert.pem")
        with (
            socket.create_connection(("127.0.0.1", server.port)) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            for _ in range(3):
                connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert b'{"status":"ok"}' in connection.recv(4_096)
        assert server.stop() == 0
    assert server.log.count("path=/livez status=200") == 3
