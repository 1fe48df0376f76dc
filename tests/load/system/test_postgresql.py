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
