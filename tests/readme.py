"""Reads the code blocks of the README pages, and runs them as they are written, except for ports and folders."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from tests.process import DEADLINE_S, HANGS_AFTER_S, ROOT

README = ROOT / "README.md"
HANDLERS = ROOT / "handlers" / "README.md"
WORKERS = ROOT / "workers" / "README.md"
MODELS = ROOT / "models" / "README.md"
LOAD = ROOT / "load" / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
CHANGELOG = ROOT / "CHANGELOG.md"
TYPED_IN_ORDER = (README, HANDLERS, WORKERS, MODELS)
"""The pages whose shell blocks and Python files `tests/docs/test_readme_typed_in_order.py` runs one after another."""
ADDRESS = "127.0.0.1:8080"
SERVER = [".venv/bin/python", "server.py"]


class Example(NamedTuple):
    """A line of a shell block, or a whole block in another language. `answer` is the output that the page shows."""

    language: str
    text: str
    answer: str = ""


def pages() -> list[Path]:
    """Returns every page of the documentation. Leaves out hidden folders: pytest's cache, for example, has a README."""
    return [README, *sorted(ROOT.glob("[!.]*/*.md")), CONTRIBUTING, CHANGELOG]


def blocks(page: Path = README) -> list[Example]:
    """Returns the code blocks of a page. A block without a language is the output of the shell block before it."""
    return _blocks_in(page.read_text())


def postgresql_blocks() -> list[Example]:
    """Returns the shell blocks about PostgreSQL, which `tests/docs/test_readme_postgresql.py` runs."""
    _, _, section = MODELS.read_text().partition("\n## PostgreSQL\n")
    return [block for block in _blocks_in(section.partition("\n## ")[0]) if block.language == "sh"]


def _blocks_in(text: str) -> list[Example]:
    found: list[Example] = []
    end = -1
    for block in re.finditer(r"^```(\w*)\n(.*?)^```\n+", text, re.MULTILINE | re.DOTALL):
        language, text = block.groups()
        if not language and block.start() == end and found[-1].language == "sh":
            found[-1] = found[-1]._replace(answer=text)
        else:
            found.append(Example(language, text))
        end = block.end()
    return found


def examples(page: Path = README) -> list[Example]:
    """Returns the blocks of a page. Splits shell blocks into lines; the output of a block belongs to its last line."""
    found: list[Example] = []
    for block in blocks(page):
        if block.language == "sh":
            found += [Example(block.language, line) for line in block.text.splitlines()]
            found[-1] = found[-1]._replace(answer=block.answer)
        else:
            found.append(block)
    return found


def example(containing: str, page: Path = README) -> Example:
    """Returns the only example on the page that equals this text, or else the only example that contains it.

    Tests pass a literal: `test_every_example_is_run_by_a_test` reads it from their source.
    """
    every = examples(page)
    [found] = [each for each in every if each.text == containing] or [each for each in every if containing in each.text]
    return found


def flags_of(start: Example) -> list[str]:
    """Returns the flags of a command that starts the server, without `--port` and `--database`."""
    words = shlex.split(start.text)
    assert not start.answer
    assert words[:3] == [*SERVER, "--port"]
    return words[6:] if words[4] == "--database" else words[4:]


def make_checkout(folder: Path) -> list[str]:
    """Links the program and `.venv/bin/python` into the folder. Returns a prefix that runs a command in the folder."""
    for name in ("server.py", "load"):
        (folder / name).symlink_to(ROOT / name)
    python = folder / SERVER[0]
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    return ["env", "--chdir", str(folder)]


def with_port(text: str, port: int) -> str:
    """Returns the text with this port in every address `127.0.0.1:PORT`."""
    return re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", text)


def run_shell(
    line: Example, *, port: int = 0, folder: Path = ROOT, environment: Mapping[str, str] | None = None
) -> str:
    """Runs the line and returns its output. Fails if the line fails, or does not print what the page shows."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", with_port(line.text, port)],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.replace("\r", "")
    assert_shown(line.answer, printed)
    return printed


@contextmanager
def streaming(line: Example, *, port: int) -> Iterator[IO[str]]:
    """Runs a curl command that reads an endless stream, and yields its output. Stops curl at the end of the block."""
    command = with_port(line.text, port).split(" ", 1)
    assert command[0] == "curl"
    with subprocess.Popen(
        ["bash", "-c", f"exec curl --silent --max-time {DEADLINE_S:.0f} {command[1]}"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout
        finally:
            process.kill()


def read_to(stream: IO[str], text: str) -> str:
    """Reads the stream up to the first line that contains the text."""
    read: list[str] = []
    while not read or text not in read[-1]:
        read.append(stream.readline())
        assert read[-1], f"the stream ended before {text!r}: {''.join(read)}"
    return "".join(read)


def assert_shown(answer: str, printed: str) -> None:
    """Fails unless all lines of `answer` are in `printed`, in this sequence. Times, durations and ids can differ."""
    assert missing_lines(answer, printed) == [], printed


def missing_lines(answer: str, printed: str) -> list[str]:
    """Returns the lines of `answer` that are not in `printed`, or not in this sequence.

    If a line of `answer` contains `...`, only its text before the `...` is compared.
    """
    lines = iter(_without_varying_values(printed).splitlines())
    return [shown for shown in _without_varying_values(answer).splitlines() if not _is_next(shown, lines)]


def _is_next(shown: str, lines: Iterator[str]) -> bool:
    """Returns whether one of the lines is `shown`. Consumes the lines up to that line."""
    begin, more, _ = shown.partition("...")
    return any(line.startswith(begin) if more else line == shown for line in lines)


def _without_varying_values(text: str) -> str:
    text = re.sub(r'"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{6}Z)?"', '"TIME"', text.replace("\r", ""))
    text = re.sub(r'(_time|_seconds|_per_second|_bytes)":[\d.]+', r'\1":0', text)
    text = re.sub(r'"request_id":"\w+"', '"request_id":"ID"', text)
    text = re.sub(r"\S*/(?=orders\.db )", "FOLDER/", re.sub(r"process \d+$", "process PID", text, flags=re.MULTILINE))
    return re.sub(r"^id: [0-9a-f]+-\d+$", "id: ID", text, flags=re.MULTILINE)
