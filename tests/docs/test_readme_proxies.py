"""Tests the configurations of nginx and Caddy in handlers/README.md: curl sends requests through the real programs."""

import http.client
import json
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.process import DEADLINE_S, HANGS_AFTER_S, Client, ServerProcess, free_port, need, order, wait_until
from tests.readme import ADDRESS, HANDLERS, example, read_to, run_shell, streaming

NGINX_CONF = """
daemon off;
master_process off;
pid FOLDER/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    BLOCK
}
"""
CADDYFILE = """
{
    admin off
    default_bind 127.0.0.1
}
BLOCK
"""
ONE_MB = 1_000_000

pytestmark = pytest.mark.slow


class Proxy(NamedTuple):
    """A proxy that listens on `port`, and the server behind it."""

    port: int
    server: ServerProcess


def replaced(text: str, **by: object) -> str:
    """Replaces each key of `by` in the text by its value. Fails if the text does not contain a key."""
    for old, new in by.items():
        assert old in text
        text = text.replace(old, str(new))
    return text


def nginx_command(folder: Path, port: int, server: ServerProcess) -> list[str]:
    """The command that runs nginx with the configuration of the page."""
    listen = {"listen 80;": f"listen 127.0.0.1:{port};", ADDRESS: f"127.0.0.1:{server.port}"}
    block = replaced(example("proxy_pass", HANDLERS).text, **listen)
    (folder / "nginx.conf").write_text(replaced(NGINX_CONF, FOLDER=folder, BLOCK=block))
    return ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def caddy_command(folder: Path, port: int, server: ServerProcess) -> list[str]:
    """The command that runs Caddy with the configuration of the page."""
    block = replaced(
        example("reverse_proxy", HANDLERS).text, **{":80 {": f":{port} {{", ADDRESS: f"127.0.0.1:{server.port}"}
    )
    (folder / "Caddyfile").write_text(replaced(CADDYFILE, BLOCK=block))
    return ["env", f"HOME={folder}", "caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


@pytest.fixture(params=[nginx_command, caddy_command], ids=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Proxy]:
    command: Callable[[Path, int, ServerProcess], list[str]] = request.param
    for tool in ("curl", command.__name__.removesuffix("_command")):
        need(tool)
    listener, port = free_port()
    listener.close()
    with (
        ServerProcess(tmp_path / "orders.db") as server,
        (tmp_path / "proxy.log").open("w") as log,
        subprocess.Popen(command(tmp_path, port, server), stdout=log, stderr=log) as process,
    ):
        try:
            with closing(Client(port)) as client:
                wait_until(lambda: client.ask("GET", "/readyz").status == 200)
            yield Proxy(port, server)
        finally:
            process.kill()


def ask_for_host(port: int, host: str) -> int:
    """The status of the response to a request with this Host header."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)) as connection:
        connection.request("GET", "/metrics", headers={"Host": host})
        return connection.getresponse().status


def test_the_name_that_clients_use_must_be_among_the_allowed_hosts(proxy: Proxy, tmp_path: Path) -> None:
    assert ask_for_host(proxy.port, "shop.example") == 421
    assert ask_for_host(proxy.port, f"localhost:{proxy.port}") == 200
    # The same port, because the proxy forwards only to this port.
    port = proxy.server.port
    proxy.server.kill()
    flags = ("--port", str(port), "--allowed-hosts", "shop.example")
    with ServerProcess(tmp_path / "orders.db", *flags):
        assert ask_for_host(proxy.port, "shop.example") == 200
        assert ask_for_host(proxy.port, "evil.example") == 421


def test_an_event_arrives_while_the_stream_is_open(proxy: Proxy) -> None:
    with streaming(example("curl -N http://127.0.0.1:8080/orders/events", HANDLERS), port=proxy.port) as stream:
        read_to(stream, "id: ")
        run_shell(example("curl -i http://127.0.0.1:8080/order -H 'Content-Type"), port=proxy.port)
        read_to(stream, '"order_id":12345,"user_id":1,"status":"Completed"')


def test_a_file_of_orders_larger_than_1_mb_is_accepted(proxy: Proxy, tmp_path: Path) -> None:
    lines = [json.dumps(order(number)) for number in range(1, 20_001)]
    path = tmp_path / "orders.ndjson"
    path.write_text("\n".join(lines))
    assert path.stat().st_size > ONE_MB
    send = example("-T orders.ndjson", HANDLERS)._replace(answer="")
    answer = json.loads(run_shell(send, port=proxy.port, folder=tmp_path))
    assert answer == {"accepted": len(lines), "duplicates": 0, "rejected": [], "rejected_total": 0, "refused_total": 0}


def test_orders_are_stored_while_the_file_is_still_being_sent(proxy: Proxy) -> None:
    def parts() -> Iterable[bytes]:
        yield b"".join(json.dumps(order(number)).encode() + b"\n" for number in range(1, 5_001))
        wait_until(lambda: proxy.server.get("/metrics").body["total_orders"] > 0)
        yield json.dumps(order(5_001)).encode()

    with closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=DEADLINE_S)) as connection:
        connection.request("POST", "/orders", parts(), {"Content-Type": "application/x-ndjson"}, encode_chunked=True)
        assert json.loads(connection.getresponse().read())["accepted"] == 5_001


def test_the_server_closes_the_connection_of_a_reader_that_disconnects(proxy: Proxy) -> None:
    files = Path(f"/proc/{proxy.server.pid}/fd")
    with streaming(example("curl -N http://127.0.0.1:8080/orders/events", HANDLERS), port=proxy.port) as stream:
        read_to(stream, "id: ")
        open_files = len(list(files.iterdir()))
    wait_until(lambda: len(list(files.iterdir())) < open_files)


# A chunked body after `100 Continue` is left out, because Caddy 2.6 itself can reset such a connection.
FRAMINGS = [["Expect: 100-continue"], ["Expect:"], ["Expect:", "Transfer-Encoding: chunked"]]


@pytest.mark.parametrize("path", ["/order", "/orders"])
@pytest.mark.parametrize("framing", FRAMINGS, ids=str)
def test_a_body_that_is_too_large_gets_the_413_of_the_server(
    proxy: Proxy, tmp_path: Path, path: str, framing: list[str]
) -> None:
    body = tmp_path / "large.json"
    body.write_bytes(bytes(30 * 1024 * 1024))
    headers = [option for header in ["Content-Type: application/json", *framing] for option in ("-H", header)]
    command = ["curl", "-sS", "-X", "POST", "-T", str(body), *headers, f"http://127.0.0.1:{proxy.port}{path}"]
    for _ in range(6):
        done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS_AFTER_S, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["type"] == "/problems/too-large"
