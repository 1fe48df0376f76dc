"""Tests what all commands share: errors, outputs and exit statuses."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from load.cli.command import Command, Output, json_outputs
from load.cli.errors import CommandError, ExitStatus, UsageError


class Sample(Command):
    """A command that runs the function `run` of a test."""

    def __init__(self, run: Callable[[], ExitStatus], *, outputs: Sequence[Output] = ()) -> None:
        super().__init__(prog="python -m sample")
        self._run = run
        self._outputs = outputs

    def run(self) -> ExitStatus:
        return self._run()

    def outputs(self) -> Sequence[Output]:
        return self._outputs


def passes() -> ExitStatus:
    return ExitStatus.PASSED


def raises(error: BaseException) -> Callable[[], ExitStatus]:
    def run() -> ExitStatus:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (CommandError("no server"), 1, "python -m sample: no server\n"),
        (UsageError("no file"), 2, "python -m sample: no file\n"),
        (CommandError("orderskey_abcdef is wrong"), 1, "python -m sample: orderskey_... is wrong\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_results_are_written_after_an_error(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[str] = []
    assert Sample(raises(error), outputs=[Output("first", lambda: written.append("first"))]).execute() == status
    assert written == ["first"]
    assert capsys.readouterr().err == line


def test_results_are_written_when_the_command_has_a_bug() -> None:
    written: list[str] = []
    with pytest.raises(ZeroDivisionError):
        Sample(raises(ZeroDivisionError()), outputs=[Output("first", lambda: written.append("first"))]).execute()
    assert written == ["first"]


def test_an_output_that_cannot_be_written_fails_the_command_and_not_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "result.json"
    outputs = [*json_outputs(Path("/dev/full"), dict), *json_outputs(file, lambda: {"passed": True})]
    assert Sample(passes, outputs=outputs).execute() == 1
    assert capsys.readouterr().err == "python -m sample: /dev/full can't be written: no space left on device\n"
    assert file.read_text() == '{\n  "passed": true\n}\n'
