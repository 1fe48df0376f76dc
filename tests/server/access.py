"""API keys, requests with a key, and servers with HTTPS."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.process import Answer, ServerProcess, run_server

JSON = {"Content-Type": "application/json"}


def make_key(file: Path, name: str, scope: str) -> str:
    """Makes a new key with `--new-api-key`, adds its line to the file, and returns the key."""
    status, stdout, stderr = run_server("--new-api-key", name, "--scope", scope)
    assert (status, stderr) == (0, "")
    _, key, _, _, line = stdout.splitlines()
    with file.open("a") as lines:
        lines.write(line + "\n")
    return key


def ask(server: ServerProcess, method: str, path: str, token: str | None, body: bytes | None = None) -> Answer:
    with server.client() as client:
        client.request(method, path, body, JSON | ({} if token is None else {"Authorization": f"Bearer {token}"}))
        return client.answer()


def curl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["curl", "--silent", "--show-error", *arguments], capture_output=True, text=True, check=False)


@contextmanager
def https_server(folder: Path, pems: Path, *flags: str) -> Iterator[ServerProcess]:
    files = ["--tls-cert", str(pems / "cert.pem"), "--tls-key", str(pems / "key.pem")]
    with ServerProcess(folder / "orders.db", *files, *flags) as server:
        yield server
