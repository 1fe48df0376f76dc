"""SIGHUP to a real server: it reads API keys, the certificate and webhook secrets again, and does not stop."""

import os
import select
import shutil
import signal
import socket
import ssl
from pathlib import Path

import pytest

from tests.live_orders import wait_for_status
from tests.process import DEADLINE_S, ServerProcess, need, order, wait_until
from tests.receiver import SECRET, Receiver, Reply
from tests.server.access import ask, curl, https_server, make_key
from tests.server.test_stop import wait_until_refusing
from tests.storage_faults import locked_database

pytestmark = pytest.mark.slow


def reload(server: ServerProcess, *, saying: str) -> None:
    """Sends SIGHUP, and waits until the server has logged `saying` after the signal."""
    count = server.log.count(saying)
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.log.count(saying) > count)


def test_new_keys_are_accepted_and_removed_ones_are_not(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    old = make_key(file, "shop", "write")
    with ServerProcess(tmp_path / "orders.db", "--api-keys", str(file), "--rate-limit", "3/h") as server:
        assert [ask(server, "GET", "/metrics", old).status for _ in range(2)] == [200, 200]
        file.unlink()
        new, reader = make_key(file, "shop", "read"), make_key(file, "reader", "read")
        assert ask(server, "GET", "/metrics", new).status == 401
        reload(server, saying=f" INFO reloaded: 2 API keys from {file}\n")
        assert ask(server, "GET", "/metrics", old).status == 401
        assert ask(server, "GET", "/metrics", reader).status == 200
        # The new key has the name of the old key, so requests with the old key count towards its rate limit.
        assert [ask(server, "GET", "/metrics", new).status for _ in range(2)] == [200, 429]
        assert server.stop() == 0


def test_a_bad_file_of_keys_is_reported_and_the_old_keys_stay(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    key = make_key(file, "shop", "read")
    with ServerProcess(tmp_path / "orders.db", "--api-keys", str(file)) as server:
        file.write_text(f"shop read {key}\n")
        reload(server, saying=f" ERROR not reloaded: {file}, line 1: the SHA-256 is not 64 hexadecimal digits\n")
        file.unlink()
        reload(server, saying=f" ERROR not reloaded: {file} can't be read: No such file or directory\n")
        os.mkfifo(file)
        reload(server, saying=f" ERROR not reloaded: {file} is not a regular file\n")
        assert ask(server, "GET", "/metrics", key).status == 200
        assert ask(server, "GET", "/metrics", None).status == 401
        assert server.stop() == 0
    assert key not in server.log


def test_new_connections_get_the_new_certificate_and_open_ones_stay(tmp_path: Path, pems: Path) -> None:
    need("curl")
    files = tmp_path / "files"
    shutil.copytree(pems, files)
    with https_server(tmp_path, files) as server:
        url = f"https://127.0.0.1:{server.port}/livez"
        context = ssl.create_default_context(cafile=pems / "cert.pem")
        with (
            socket.create_connection(("127.0.0.1", server.port)) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            (files / "cert.pem").write_bytes((pems / "other-cert.pem").read_bytes())
            reload(server, saying=" ERROR not reloaded: the key in ")
            assert curl("--cacert", str(pems / "cert.pem"), url).stdout == '{"status":"ok"}'
            (files / "key.pem").write_bytes((pems / "other-key.pem").read_bytes())
            reload(server, saying=f" INFO reloaded: the certificate from {files / 'cert.pem'}\n")
            assert curl("--cacert", str(pems / "other-cert.pem"), url).stdout == '{"status":"ok"}'
            assert curl("--cacert", str(pems / "cert.pem"), url).returncode == 60
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b'{"status":"ok"}' in connection.recv(4_096)
        assert server.stop() == 0


def test_webhooks_are_signed_with_the_new_secrets(tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text("b2xk\n")
    with Receiver(lambda _: Reply(200)) as receiver:
        flags = ("--processor", "webhook", "--webhook-url", receiver.url, "--webhook-secret", f"@{file}")
        with ServerProcess(tmp_path / "orders.db", *flags) as server:
            assert server.post(order(1)).status == 202
            receiver.wait_for(lambda: len(receiver.faults) == 1, within_s=DEADLINE_S)
            file.write_text("hunter2-\n")
            reload(server, saying=f" ERROR not reloaded: {file}: secret 1 is not base64")
            file.write_text(f"b2xk\n{SECRET}\n")
            reload(server, saying=f" INFO reloaded: 2 webhook secrets from {file}\n")
            assert server.post(order(2)).status == 202
            wait_for_status(server, 2, "Completed")
            assert server.stop() == 0


@pytest.mark.parametrize("before", [(), ("nohup",)], ids=["usual", "nohup"])
def test_a_server_without_such_files_goes_on(tmp_path: Path, before: tuple[str, ...]) -> None:
    with ServerProcess(tmp_path / "orders.db", before=before) as server:
        reload(server, saying=" INFO nothing to reload")
        reload(server, saying=" INFO nothing to reload")
        assert server.post(order(1)).status == 202
        assert server.stop() == 0


def test_a_sighup_does_not_end_a_stop_early(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server, server.client() as waiting:
        with locked_database(server):
            waiting.send_order(order(1))
            assert not select.select([waiting.sock], [], [], 0.2)[0]
            server.signal(signal.SIGTERM)
            wait_until_refusing(server)
            server.signal(signal.SIGHUP)
        assert waiting.answer().status == 202
        assert server.wait() == 0
