"""Tests the flags and the error messages of `python -m load.soak`."""

from pathlib import Path

import pytest

from load.cli.errors import CommandError
from load.soak import command
from load.soak.command import main, split
from tests.cases import cases


@cases(("minutes", "parts"), [(10, (10, 60.0)), (2, (2, 60.0)), (2.5, (3, 50.0)), (1, (2, 30.0)), (0.1, (2, 3.0))])
def test_the_time_is_split_into_parts_of_up_to_a_minute(minutes: float, parts: tuple[int, float]) -> None:
    assert split(minutes) == pytest.approx(parts)


def test_an_unwritable_result_is_an_error_before_the_soak(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--json", "/proc/version"])
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith("python -m load.soak: argument --json: /proc/version can't be written: ")


@cases("flags", [["--minutes", "0"], ["--minutes", "nan"], ["--folder", "/nowhere"], ["--rate", "x"]])
def test_a_bad_flag_is_one_line(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_error_that_ends_the_soak_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> None:
        raise CommandError("disk can't be synced: input/output error")

    monkeypatch.setattr(command, "allow_connections", fail)  # the limit of this process must stay
    assert main(["--folder", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert err == "python -m load.soak: disk can't be synced: input/output error\n"
    assert out.endswith("interrupted: the orders were not counted\n")
