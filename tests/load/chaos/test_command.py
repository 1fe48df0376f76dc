"""The command's flags and limits."""

import pytest

from load.chaos.command import limit_of, main
from load.chaos.plan import plan_faults


@pytest.mark.parametrize(
    "flags",
    [
        ["--faults", "0"],
        ["--orders", "many"],
        ["--seed", "-1"],
        ["--folder", "/nowhere/at/all"],
        ["--json", "/nowhere/at/all.json"],
        ["--kinds", "kill"],
    ],
)
def test_a_bad_flag_is_one_line_and_status_2(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_run_may_not_take_for_ever() -> None:
    assert limit_of(plan_faults(1, 24), 10_000) < 700
