"""Tests the flags of `python -m load.patroni`, and that it names missing programs. The test of the page runs it."""

import pytest

from load.patroni.command import main
from tests.cases import cases


def test_missing_packages_are_named_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main([]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "install the Debian packages that are missing: etcd-server patroni" in line


@cases("flags", [["--ttl", "1"], ["--ttl", "long"], ["--nodes", "3"]])
def test_a_bad_flag_is_one_line_and_status_2(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
