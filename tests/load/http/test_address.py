"""Tests API keys and certificates: the requests that are sent, and errors of one line."""

import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from load.http.address import ServerUrl, Unreachable, reach
from load.http.connections import Timeouts
from tests.load.conftest import Load
from tests.load.shop import Shop
from tests.process import need

KEY = "orderskey_secret"


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a file with a certificate for 127.0.0.1 and its key."""
    need("openssl")
    path = tmp_path_factory.mktemp("pem") / "shop.pem"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2", "-nodes"]
    name = ["-subj", "/CN=shop", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = subprocess.run([*new, *name, "-keyout", "-"], capture_output=True, check=True)
    path.write_bytes(made.stdout)
    return path


def _listen_with_tls(shop: Shop, pem: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    shop.listen_with_tls(context)


@pytest.mark.parametrize("flags", [("--orders", "10"), ("--bulk", "5", "--orders", "10"), ("--rate", "500")])
def test_the_key_is_sent_with_every_request_and_never_shown(
    flags: tuple[str, ...], load: Load, shop: Shop, tmp_path: Path
) -> None:
    shop.api_key = KEY
    page = tmp_path / "page.html"
    flags = (*flags, "--duration", "0.02") if "--rate" in flags else flags
    outcome = load(*flags, "--api-key", KEY, "--report", str(page))
    assert (outcome.status, outcome.json["accepted"]) == (0, 10)
    assert all(f"\r\nAuthorization: Bearer {KEY}\r\n" in head for head in shop.heads)
    assert {head.split("/")[1].split(" ")[0] for head in shop.heads} >= {"metrics", "order"}
    for text in (outcome.out, outcome.err, str(outcome.json), page.read_text()):
        assert KEY not in text


def test_the_key_may_come_from_the_environment(load: Load, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.api_key = KEY
    monkeypatch.setenv("ORDERS_KEY", KEY)
    assert load("--orders", "3").status == 0


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ((), "requires an API key (--api-key or the environment variable ORDERS_KEY)"),
        (("--api-key", "wrong"), "rejected this API key"),
    ],
)
def test_a_key_that_is_missing_or_wrong_is_one_line_before_any_order_is_sent(
    flags: tuple[str, ...], complaint: str, load: Load, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORDERS_KEY", raising=False)
    shop.api_key = KEY
    outcome = load("--orders", "3", *flags)
    assert (outcome.status, outcome.out, shop.ids, outcome.json) == (1, "", [], None)
    assert outcome.err.startswith("python -m load: ")
    assert complaint in outcome.err
    assert outcome.err.count("\n") == 1
    assert "wrong" not in outcome.err


def test_orders_go_over_tls_on_connections_that_are_kept(
    load: Load, shop: Shop, pem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    _listen_with_tls(shop, pem)
    # On a busy machine, 68 handshakes can take longer than the short time-outs.
    outcome = load("--orders", "100", "--concurrency", "4", timeouts=Timeouts())
    assert (outcome.status, outcome.json["accepted"], outcome.err) == (0, 100, "")
    assert outcome.json["url"].startswith("https://127.0.0.1:")
    assert shop.connections <= 1 + 1 + 4 + 64


def test_a_certificate_that_is_not_trusted_is_one_line(load: Load, shop: Shop, pem: Path) -> None:
    _listen_with_tls(shop, pem)
    outcome = load("--orders", "3")
    assert (outcome.status, outcome.out, shop.ids) == (1, "", [])
    assert outcome.err == f"python -m load: The certificate of {shop.url} is not trusted: self-signed certificate\n"


def test_a_certificate_for_another_name_is_one_line(
    load: Load, shop: Shop, pem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    _listen_with_tls(shop, pem)
    shop.url = shop.url.replace("127.0.0.1", "localhost")
    outcome = load("--orders", "3")
    assert outcome.status == 1
    assert "is not trusted: Hostname mismatch, certificate is not valid for 'localhost'\n" in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.gen_test
async def test_a_server_that_never_completes_the_handshake_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = ServerUrl.parse(f"https://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(Unreachable) as error:
            await reach(url, timeout_s=0.05)
    assert str(error.value) == f"No server at {url}: no answer within 0.05 s"


def test_http_to_a_tls_server_fails_the_run(load: Load, shop: Shop, pem: Path) -> None:
    _listen_with_tls(shop, pem)
    shop.url = shop.url.replace("https:", "http:")
    outcome = load("--orders", "3")
    assert (outcome.status, shop.ids, outcome.json["errors"]) == (1, [], 3)


def test_a_missing_file_of_certificates_is_one_line(
    load: Load, shop: Shop, pem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    _listen_with_tls(shop, pem)
    outcome = load("--orders", "3")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == f"python -m load: The certificate of {shop.url} is not trusted: self-signed certificate\n"


def test_an_unwritable_file_is_an_error_before_any_order_is_sent(load: Load, shop: Shop, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    outcome = load("--orders", "3", "--report", str(page), "--json", "/proc/x.json")
    assert (outcome.status, outcome.out, shop.ids) == (2, "", [])
    assert "argument --json: /proc/x.json can't be written: no such file or directory" in outcome.err
    assert list(tmp_path.iterdir()) == []
