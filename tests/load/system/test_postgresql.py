"""Tests where PostgreSQL's programs are found, and the errors of a server that can't be created or started."""

from pathlib import Path
from signal import SIGQUIT

import pytest

from load.cli.errors import CommandError
from load.system import postgresql
from load.system.postgresql import PostgresqlServer, embedded_programs, find_programs
from tests.postgresql.programs import installed_programs
from tests.postgresql.server import need_postgresql


def new_server(folder: Path, *settings: str) -> PostgresqlServer:
    need_postgresql()
    programs = installed_programs()
    assert programs is not None
    return PostgresqlServer(folder, programs=programs, data=folder / "data", settings=settings)


def test_programs_are_found_on_path_then_of_debian_then_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "9" / "bin"))
    monkeypatch.setattr(postgresql, "DEBIAN", tmp_path)
    assert find_programs() == embedded_programs()
    for version in ("9", "15", "common"):
        program = tmp_path / version / "bin" / "postgres"
        program.parent.mkdir(parents=True)
        program.touch()
    assert find_programs() == tmp_path / "15" / "bin"
    (tmp_path / "9" / "bin" / "postgres").chmod(0o755)
    assert find_programs() == tmp_path / "9" / "bin"


@pytest.mark.postgresql
def test_a_server_that_can_not_be_created_is_an_error(open_folder: Path) -> None:
    used = open_folder / "used"
    (used / "data").mkdir(parents=True)
    (used / "data" / "file").touch()
    server = new_server(used)
    with pytest.raises(CommandError, match=r"^PostgreSQL can't create its files: initdb: error: .* not empty"):
        server.create()


@pytest.mark.postgresql
def test_a_server_that_does_not_start_is_an_error_with_its_log(open_folder: Path) -> None:
    server = new_server(open_folder, "no_setting=1")
    server.create()
    with pytest.raises(CommandError, match=r"^PostgreSQL does not start: .*no_setting"):
        server.start()
    server.stop(SIGQUIT)


@pytest.mark.postgresql
def test_a_server_of_which_all_processes_are_killed_leaves_nothing_and_can_be_started(open_folder: Path) -> None:
    folder = open_folder / "killed"
    folder.mkdir()
    server = new_server(folder)
    server.create()
    try:
        for _ in range(2):
            server.start()
            assert server.process
            children = children_of(server.process.pid)
            [segment] = [line.split()[1] for line in shared_memory() if line.split()[4] == str(server.process.pid)]
            server.kill_all()
            assert len(children) > 3
            assert not any(is_running(pid) for pid in children)
            assert segment not in [line.split()[1] for line in shared_memory()]
            server.kill_all()
    finally:
        server.stop(SIGQUIT)


def shared_memory() -> list[str]:
    """The segments of System V shared memory: https://man7.org/linux/man-pages/man5/sysvipc.5.html"""
    return Path("/proc/sysvipc/shm").read_text().splitlines()[1:]


def is_running(pid: str) -> bool:
    """Whether the process has not ended. One that has ended has no command line until its parent notices its end."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
