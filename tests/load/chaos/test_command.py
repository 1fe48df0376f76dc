"""Tests the flags of `python -m load.chaos`."""

import pytest

from load.chaos.command import main
from tests.cases import cases


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
    ],
)
def test_a_bad_flag_is_one_line_and_status_2(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
