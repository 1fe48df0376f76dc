"""Tests when the folder with a run's databases is kept, and how the machine is described."""

from itertools import islice
from pathlib import Path

import pytest

from load.system.machine import describe_machine, new_folder


@pytest.mark.parametrize("is_wanted", [True, False])
def test_a_folder_is_kept_if_it_is_wanted(is_wanted: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with new_folder(tmp_path, prefix="run-", is_wanted=lambda: is_wanted) as folder:
        (folder / "orders.db").touch()
    assert folder.parent == tmp_path
    assert folder.exists() is is_wanted
    assert capsys.readouterr().out == (f"The databases and logs are in {folder}\n" if is_wanted else "")


@pytest.mark.parametrize(
    ("failure", "is_kept"), [(ZeroDivisionError, True), (KeyboardInterrupt, False), (BrokenPipeError, False)]
)
def test_a_folder_is_kept_after_an_error_but_not_after_ctrl_c_or_a_broken_pipe(
    failure: type[BaseException], is_kept: bool, tmp_path: Path
) -> None:
    def fail() -> None:
        with new_folder(tmp_path, prefix="run-", is_wanted=lambda: not is_kept):
            raise failure

    with pytest.raises(failure):
        fail()
    assert bool(list(tmp_path.iterdir())) is is_kept


def test_the_machine_is_described_with_versions_and_file_system(tmp_path: Path) -> None:
    machine = describe_machine(tmp_path)
    assert list(islice(machine, 3)) == ["cpus", "platform", "python"]
    assert "unknown" not in machine["file_system"]
