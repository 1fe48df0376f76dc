"""Tests the flags of `python -m load.chaos`."""

import pytest

from load.chaos.command import main
from tests.cases import cases
from tests.postgresql.programs import installed_programs
from tests.postgresql.server import need_postgresql


@cases(
    "flags",
    [
        ["--faults", "0"],
        ["--orders", "many"],
        ["--seed", "-1"],
        ["--folder", "/nowhere/at/all"],
        ["--json", "/nowhere/at/all.json"],
        ["--kinds", "kill"],
        ["--postgresql", "/nowhere"],
        ["--nodes", "0"],
        ["--nodes", "3"],
        ["--only", "fire"],
        ["--only", "failover"],
        ["--only", "kill", "--only", "isolate"],
    ],
)
def test_a_bad_flag_is_one_line_and_status_2(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.postgresql
def test_several_servers_without_a_load_balancer_are_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    need_postgresql()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SystemExit) as ended:
        main(["--nodes", "3", "--postgresql", str(installed_programs())])
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "argument --nodes: there is no program caddy on PATH" in line
