"""The README's commands that install, start and test the server."""

import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from contextlib import closing
from pathlib import Path

import pytest

from tests.process import ROOT, Client, ServerProcess, free_port, need, wait_until
from tests.readme import START, Example, example, flags_of, make_checkout, read_to, run_shell

PIP_OFFLINE = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def begin_in_a_copy(line: Example, folder: Path) -> Example:
    """Copies the program to `folder` and runs the first command of the line, which makes `.venv`; returns the rest.

    The packages that the rest installs are already visible in `.venv`: the test needs no network.
    """
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.db*"))
    venv, _, rest = line.text.partition(" && ")
    assert venv == "python3 -m venv .venv"
    subprocess.run([sys.executable, *venv.split()[1:]], cwd=folder, check=True)
    [packages] = folder.glob(".venv/lib/python*/site-packages")
    # First, because a new `.venv` brings a setuptools of its own.
    (packages / "installed.pth").write_text(f"import sys; sys.path.insert(0, {sysconfig.get_path('purelib')!r})\n")
    return line._replace(text=rest)


@pytest.mark.slow
def test_the_first_line_starts_a_copy_of_the_program(tmp_path: Path) -> None:
    copy = tmp_path / "orders"
    rest = begin_in_a_copy(example("-r requirements.txt && .venv/bin/python server.py"), copy)
    listener, port = free_port()
    listener.close()
    with subprocess.Popen(
        ["bash", "-c", rest.text.replace("8080", str(port))],
        cwd=copy,
        env={**os.environ, **PIP_OFFLINE},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stderr is not None
            read_to(process.stderr, f"listening on http://127.0.0.1:{port} (database orders.db, ")
            with closing(Client(port)) as client:
                assert client.ask("GET", "/readyz").status == 200
            assert (copy / "orders.db").exists()
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_the_second_line_tests_a_copy_of_the_program(tmp_path: Path) -> None:
    copy = tmp_path / "orders"
    rest = begin_in_a_copy(example("-r tests/requirements.txt && .venv/bin/python -m pytest"), copy)
    some = rest._replace(text=f"{rest.text} tests/test_imports.py")
    assert re.search(r"\d+ passed", run_shell(some, folder=copy, environment=PIP_OFFLINE))


@pytest.mark.slow
def test_the_server_accepts_the_new_key(tmp_path: Path) -> None:
    need("curl")
    before = make_checkout(tmp_path)
    line = example("--new-api-key checkout")
    printed = run_shell(line._replace(text=line.text.replace("/dev/stderr", "shown.txt")), folder=tmp_path)
    printed += (tmp_path / "shown.txt").read_text()
    [key] = re.findall(r"^orderskey_\S+$", printed, re.MULTILINE)
    assert (tmp_path / "keys.txt").read_text() == f"checkout write {hashlib.sha256(key.encode()).hexdigest()}\n"
    flags = flags_of(example("--api-keys keys.txt --rate-limit"))
    with ServerProcess(tmp_path / "orders.db", *flags, before=before) as server:
        ask = example("Bearer $ORDERS_KEY")
        answer = run_shell(ask, port=server.port, environment={"ORDERS_KEY": key})
        assert answer.startswith("HTTP/1.1 200 OK\n")
        assert '\nratelimit: "default";r=' in answer.lower()
        assert run_shell(ask, port=server.port, environment={"ORDERS_KEY": key + "x"}).startswith("HTTP/1.1 401 ")
        assert server.get("/livez").status == 200


def unit_in(folder: Path) -> str:
    """The unit, with the paths of this machine."""
    unit = example("[Unit]").text
    for path, here in (("/opt/orders", folder), ("/var/lib/orders", folder), ("/etc/orders", folder)):
        assert path in unit
        unit = unit.replace(path, str(here))
    return unit


@pytest.mark.slow
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    need("systemd-analyze")
    make_checkout(tmp_path)
    unit = tmp_path / "orders.service"
    unit.write_text(unit_in(tmp_path))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_the_unit_starts_the_server(tmp_path: Path) -> None:
    before = make_checkout(tmp_path)
    (tmp_path / "keys.txt").write_text(f"checkout write {'0' * 64}\n")
    [command] = re.findall(r"^ExecStart=(.*)$", unit_in(tmp_path), re.MULTILINE)
    words = shlex.split(command.replace("%d", str(tmp_path)))
    assert words[: len(START)] == [str(tmp_path / START[0]), *START[1:]]
    with ServerProcess(tmp_path / "unused.db", *words[len(START) :], before=before) as server:
        assert server.get("/metrics").status == 401
        assert server.get("/readyz").status == 200
        assert (tmp_path / "orders.db").exists()
        assert server.stop() == 0


@pytest.mark.slow
def test_the_load_generator_loses_no_order(tmp_path: Path) -> None:
    make_checkout(tmp_path)
    line = example(".venv/bin/python -m load")
    with ServerProcess(tmp_path / "orders.db") as server:
        here = line._replace(text=f"{line.text} --url http://127.0.0.1:{server.port}")
        assert "none lost, none different" in run_shell(here, folder=tmp_path)
        wait_until(lambda: server.get("/metrics").body["completed_orders"] == 1_000)
