"""The examples of the README pages: found by what is in them, and run unchanged except for ports and folders."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from tests.process import DEADLINE_S, ROOT

README = ROOT / "README.md"
LOAD = ROOT / "load" / "README.md"
ADDRESS = "127.0.0.1:8080"
START = [".venv/bin/python", "server.py", "--port", "8080"]


class Example(NamedTuple):
    """A line of a block of shell, or any other block as a whole; what the README shows as its answer, else nothing."""

    language: str
    text: str
    answer: str = ""


def readme(page: Path = README) -> str:
    return page.read_text()


def examples(page: Path = README) -> list[Example]:
    """All of them. A block without a language is the answer to the shell right before it, else it stands for itself."""
    found: list[Example] = []
    end = -1
    for block in re.finditer(r"^```(\w*)\n(.*?)^```\n+", readme(page), re.MULTILINE | re.DOTALL):
        language, text = block.groups()
        if language == "sh":
            found += [Example(language, line) for line in text.splitlines()]
        elif not language and block.start() == end and found[-1].language == "sh":
            found[-1] = found[-1]._replace(answer=text)
        else:
            found.append(Example(language, text))
        end = block.end()
    return found


def example(containing: str, page: Path = README) -> Example:
    """The one example that is this, or else has it in it.

    Its argument is a literal: a test reads from the source what is asked for.
    """
    every = examples(page)
    [found] = [each for each in every if each.text == containing] or [each for each in every if containing in each.text]
    return found


def flags_of(start: Example) -> list[str]:
    """The flags that this command gives to the server after `--port 8080`."""
    words = shlex.split(start.text)
    assert not start.answer
    assert words[: len(START)] == START
    return words[len(START) :]


def make_checkout(folder: Path) -> list[str]:
    """Makes it a folder with the program and `.venv/bin/python`; what to put before a command that is to run there."""
    for name in ("server.py", "load"):
        (folder / name).symlink_to(ROOT / name)
    python = folder / START[0]
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    return ["env", "--chdir", str(folder)]


def run_shell(
    line: Example, *, port: int = 0, folder: Path = ROOT, environment: Mapping[str, str] | None = None
) -> str:
    """What the line prints; it must succeed, and print what the README shows."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line.text.replace(ADDRESS, f"127.0.0.1:{port}")],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.replace("\r", "")
    assert_shown(line.answer, printed)
    return printed


@contextmanager
def streaming(line: Example, *, port: int) -> Iterator[IO[str]]:
    """What a curl that does not end by itself prints; it is ended with the block, or at the deadline."""
    command = line.text.replace(ADDRESS, f"127.0.0.1:{port}").split(" ", 1)
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
    """What comes up to the first line with this in it."""
    read: list[str] = []
    while not read or text not in read[-1]:
        read.append(stream.readline())
        assert read[-1], f"it ended before {text!r}: {''.join(read)}"
    return "".join(read)


def assert_shown(answer: str, given: str) -> None:
    """Every line that the README shows came, in that order; times, durations and the ids of events may be others."""
    came = iter(_without_times(given).splitlines())
    missing = [line for line in _without_times(answer).splitlines() if line not in came]
    assert missing == [], given


def _without_times(text: str) -> str:
    text = re.sub(r'"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"', '"TIME"', text)
    text = re.sub(r'(_time|_seconds|_per_second)":[\d.]+', r'\1":0', text)
    return re.sub(r"^id: [0-9a-f]+-\d+$", "id: ID", text, flags=re.MULTILINE)
