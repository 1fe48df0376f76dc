"""Runs the failover with Patroni that load/README.md shows, but with a shorter ttl, and compares its output."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.postgresql.server import need_postgresql
from tests.process import HANGS_AFTER_S, ROOT, need, processes_with
from tests.readme import LOAD, example

NUMBER = re.compile(r"\d[\d,.]*")


@pytest.mark.slow
@pytest.mark.postgresql
def test_the_failover_shown_loses_nothing_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("etcd", "patroni"):
        need(program)
    need_postgresql()
    shown = example("-m load.patroni", LOAD)
    with tempfile.TemporaryDirectory() as folder:
        # PostgreSQL's user must be able to enter the folder.
        Path(folder).chmod(0o711)
        monkeypatch.setenv("TMPDIR", folder)
        _, *words = shown.text.split()
        done = subprocess.run(
            [sys.executable, *words, "--ttl", "6"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANGS_AFTER_S,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert [*Path(folder).iterdir()] == []
        assert processes_with(folder) == []
    assert shape(done.stdout) == shape(shown.answer)
    found = dict(re.findall(r"^(\S.*?) {2,}([\d,.]+)", done.stdout, re.MULTILINE))
    assert found["missing"] == found["servers that ended"] == "0"
    assert int(found["acknowledged"].replace(",", "")) >= 1500
    assert float(found["longest time without 202"]) > 0


def shape(text: str) -> list[str]:
    """The lines of a text, without spaces at the beginning of a line and with 0 in place of each number."""
    return [NUMBER.sub("0", " ".join(line.split())) for line in text.strip().splitlines()]
