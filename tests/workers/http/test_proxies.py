"""Requests through a proxy that the environment names."""

import contextlib
import socket
import threading
from pathlib import Path

import pytest

from tests.process import DEADLINE_S
from tests.workers.http_client import HttpClient
from tests.workers.scripted_receiver import Receiver
from workers.http.messages import Failure, FailureKind, Response

VARIABLES = ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


class Tunnel:
    """A proxy that answers the first CONNECT with `answer`, and then forwards all bytes to 127.0.0.1."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connected\r\nRetry-After: 5\r\n\r\n") -> None:
        self.targets: list[str] = []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE_S)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            with client, client.makefile("rb") as stream:
                request = stream.readline().decode()
                while stream.readline().strip():
                    pass
                target = request.split()[1]
                self.targets.append(target)
                client.sendall(self._answer)
                with socket.create_connection(("127.0.0.1", int(target.rpartition(":")[2]))) as receiver:
                    back = threading.Thread(target=forward, args=(receiver, client))
                    back.start()
                    forward(client, receiver)
                    back.join(DEADLINE_S)


def forward(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Without variables for proxies."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy", "ALL_PROXY"])
def test_a_proxy_gets_the_request_with_the_whole_url(
    receiver: Receiver, environment: pytest.MonkeyPatch, variable: str
) -> None:
    environment.setenv(variable, f"http://127.0.0.1:{receiver.port}")
    with HttpClient("http://shop.invalid/hook?a=b") as client:
        assert client.post(b"1", b"2") == [Response(200)] * 2
    assert [(each.target, each.headers["host"]) for each in receiver.deliveries] == [
        ("http://shop.invalid/hook?a=b", "shop.invalid")
    ] * 2
    assert receiver.connections == 1


@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
def test_a_proxy_is_not_used_for_some_hosts(receiver: Receiver, environment: pytest.MonkeyPatch, variable: str) -> None:
    environment.setenv("http_proxy", "http://127.0.0.1:1")
    environment.setenv(variable, "shop.invalid,127.0.0.1")
    with HttpClient(receiver.url) as client:
        assert client.post(b"x") == [Response(200)]
    assert receiver.deliveries[0].target == "/hook"


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY"])
def test_a_request_over_https_goes_through_a_tunnel(
    tls_receiver: Receiver, certificate: Path, environment: pytest.MonkeyPatch, variable: str
) -> None:
    environment.setenv("SSL_CERT_FILE", str(certificate))
    tunnel = Tunnel()
    environment.setenv(variable, tunnel.url)
    with contextlib.closing(tunnel), HttpClient(tls_receiver.url) as client:
        assert client.post(b"1", b"2") == [Response(200)] * 2
    assert tunnel.targets == [f"127.0.0.1:{tls_receiver.port}"]
    assert tls_receiver.bodies == [b"1", b"2"]


def test_the_response_of_a_proxy_that_refuses_a_tunnel_is_not_that_of_the_receiver(
    environment: pytest.MonkeyPatch,
) -> None:
    tunnel = Tunnel(b"HTTP/1.1 422 No\r\nRetry-After: 5\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
    environment.setenv("https_proxy", tunnel.url)
    with contextlib.closing(tunnel), HttpClient("https://127.0.0.1:1/hook") as client:
        assert client.post(b"x") == [Failure(FailureKind.UNREACHABLE, "CONNECT tunnel failed, response 422")]


def test_a_proxy_without_an_address_is_a_failure(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("http_proxy", "http://user:secret@a..b:80")
    with HttpClient("http://shop.invalid/hook") as client:
        [failure] = client.post(b"x")
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.UNREACHABLE
    assert "secret" not in failure.cause
