"""Requests over HTTP/2, to nginx."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process import free_port, need, wait_until
from tests.workers.certificates import make_certificate
from tests.workers.http_client import HttpClient
from workers.http.messages import Response

NGINX_CONF = """
daemon off;
master_process off;
pid FOLDER/nginx.pid;
error_log stderr;
events {}
http {
    log_format requests "$server_protocol $connection $content_length";
    access_log FOLDER/requests.log requests;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    keepalive_requests 100;
    server {
        listen 127.0.0.1:PORT ssl PROTOCOLS;
        ssl_certificate FOLDER/receiver.pem;
        ssl_certificate_key FOLDER/receiver.pem;
        location /hook { return 200 "thanks"; }
        location /busy { add_header Retry-After 7 always; return 503 "no"; }
    }
}
"""
REQUESTS = 1_000


class Nginx:
    """A receiver that closes each connection after 100 requests."""

    def __init__(self, folder: Path, protocols: str) -> None:
        listener, port = free_port()
        listener.close()
        self.url = f"https://127.0.0.1:{port}"
        self._log = folder / "requests.log"
        conf = NGINX_CONF.replace("FOLDER", str(folder)).replace("PORT", str(port)).replace("PROTOCOLS", protocols)
        (folder / "nginx.conf").write_text(conf)
        self.command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]

    def requests(self) -> list[list[str]]:
        """Protocol, connection and length of each request."""
        return [line.split() for line in self._log.read_text().splitlines()]


@pytest.fixture(params=["http2", ""], ids=["HTTP/2", "HTTP/1.1"])
def nginx(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nginx]:
    need("nginx")
    monkeypatch.setenv("SSL_CERT_FILE", str(make_certificate(tmp_path / "receiver.pem")))
    nginx = Nginx(tmp_path, request.param)
    with (tmp_path / "nginx.log").open("w") as log, subprocess.Popen(nginx.command, stdout=log, stderr=log) as process:
        try:
            wait_until(lambda: is_listening(nginx.url))
            yield nginx
        finally:
            process.kill()


def is_listening(url: str) -> bool:
    with HttpClient(f"{url}/hook") as client:
        return client.post(b"") == [Response(200)]


@pytest.mark.parametrize("nginx", ["http2"], indirect=True)
def test_with_http_2_all_requests_share_few_connections(nginx: Nginx) -> None:
    with HttpClient(f"{nginx.url}/hook", connections=64) as client:
        # nginx closes a connection after 100 requests, while others are on their way.
        assert client.post(*[b"x"] * REQUESTS) == [Response(200)] * REQUESTS
    wait_until(lambda: len(posts(nginx)) == REQUESTS)
    assert {protocol for protocol, _, _ in posts(nginx)} == {"HTTP/2.0"}
    assert len({connection for _, connection, _ in posts(nginx)}) < 64


@pytest.mark.parametrize("nginx", [""], indirect=True)
def test_without_http_2_each_request_has_a_connection(nginx: Nginx) -> None:
    with HttpClient(f"{nginx.url}/hook", connections=4) as client:
        assert client.post(*[b"x"] * REQUESTS) == [Response(200)] * REQUESTS
    wait_until(lambda: len(posts(nginx)) == REQUESTS)
    assert {protocol for protocol, _, _ in posts(nginx)} == {"HTTP/1.1"}
    # One more for each 100 requests of a connection.
    assert len({connection for _, connection, _ in posts(nginx)}) <= 4 + REQUESTS / 100


def test_a_response_has_its_body_and_headers(nginx: Nginx) -> None:
    with HttpClient(f"{nginx.url}/busy") as client:
        assert client.post(b"x") == [Response(503, b"no", "text/plain", "7")]


def posts(nginx: Nginx) -> list[list[str]]:
    return [each for each in nginx.requests() if each[2] == "1"]
