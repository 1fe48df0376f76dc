"""Tests the README. Checks that tests run the examples of every page, and that linked and named files exist."""

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from server import VERSION, parse_settings
from tests.live_orders import assert_all_completed, wait_until_processed
from tests.process import ROOT, ServerProcess, need, order
from tests.readme import (
    CHANGELOG,
    CONTRIBUTING,
    MODELS,
    README,
    TYPED_IN_ORDER,
    example,
    examples,
    make_checkout,
    pages,
    run_shell,
)

MAX_README_LINES = 250
TYPED = ("sh", "python")
ROOMS = ("handlers", "workers", "models", "load", "tests", ".ci")
DRAWING = re.compile(" → |──►")
EVERY_PAGE = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))


@EVERY_PAGE
def test_every_example_is_run_by_a_test(page: Path) -> None:
    run = set()
    for path in (ROOT / "tests" / "docs").glob("test_readme*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(ast.Name("example"), [ast.Constant(str(text)), *_]):
                    # The example may be on another page.
                    with suppress(ValueError):
                        run.add(example(text, page))
    assert [
        each.text
        for each in examples(page)
        if each not in run and not (page in TYPED_IN_ORDER and each.language in TYPED) and not DRAWING.search(each.text)
    ] == []


def prose_of(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of the page."""
    headings = re.findall(r"^#+ (.*)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@EVERY_PAGE
def test_every_link_leads_to_a_file_and_heading_that_exist(page: Path) -> None:
    prose = prose_of(page)
    links = re.findall(r"\]\(([^)]+)\)", prose) + re.findall(r'src(?:set)?="([^"]+)"', prose)
    for link in links:
        if not link.startswith("https://"):
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            assert target.exists(), link
            assert not anchor or anchor in anchors_of(target), link


@EVERY_PAGE
def test_every_file_and_folder_named_exists(page: Path) -> None:
    named = re.findall(r"`([\w./-]+)`", prose_of(page))
    paths = [name for name in named if name == "server.py" or (name.partition("/")[0] in ROOMS and "/" in name)]
    assert [name for name in paths if not (ROOT / name).exists()] == []


def test_every_class_and_method_named_in_contributing_exists() -> None:
    words = {word for path in source_files() for word in re.findall(r"\w+", path.read_text())}
    named = re.findall(r"`([A-Z]\w*[a-z]\w*)(?:\.(\w+))?(?:\(\))?`", prose_of(CONTRIBUTING))
    assert len(named) > 10
    assert {word for name in named for word in name if word} - words == set()


def source_files() -> Iterator[Path]:
    """Every Python file of the product."""
    yield ROOT / "server.py"
    for room in ("handlers", "workers", "models", "load"):
        yield from (ROOT / room).rglob("*.py")


def test_the_readme_names_every_program_that_ci_installs() -> None:
    found = re.search(r"^for tool in (.+); do$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert found
    readme = README.read_text()
    assert [tool for tool in found[1].split() if f"`{tool}`" not in readme] == []


def test_the_changes_begin_with_those_of_this_version() -> None:
    versions = re.findall(r"^## (.*)$", CHANGELOG.read_text(), re.MULTILINE)
    assert versions[0] == VERSION


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= MAX_README_LINES


@pytest.mark.slow
def test_the_three_requests_get_the_responses_shown(tmp_path: Path) -> None:
    need("curl")
    with ServerProcess(tmp_path / "orders.db") as server:
        run = partial(run_shell, port=server.port)
        assert run(example("curl -i http://127.0.0.1:8080/order -H 'Content-Type"))
        wait_until_processed(server)
        stored = json.loads(run(example("curl http://127.0.0.1:8080/order/12345")))
        counts = json.loads(run(example("curl http://127.0.0.1:8080/metrics")))
    for shown in (stored["created_time"], stored["processed_time"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", shown)
    assert stored["processing_time"] == counts["avg_processing_time"]


def test_the_table_of_flags_lists_every_flag_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings(["--help"], {})
    helped = re.split(r"^  (?:-h, )?(?=--)", capsys.readouterr().out, flags=re.MULTILINE)[1:]
    flags = {text.split()[0].rstrip(","): re.findall(r"\(default:\s+(.*?)\)", text) for text in helped}
    section = README.read_text().partition("\n## Flags\n")[2]
    rows = re.findall(r"^\| (`--.*?) \| (.*?) ?\| .* \|$", section, re.MULTILINE)
    table = {flag: default for names, default in rows for flag in re.findall(r"--[a-z-]+", names)}
    assert sorted(table) == sorted(flags)
    assert {flag: table[flag] or "none" for flag, said in flags.items() if said} == {
        flag: said[0] for flag, said in flags.items() if said
    }


@pytest.mark.slow
def test_the_line_of_the_crontab_makes_a_backup_and_replaces_the_one_of_the_week_before(tmp_path: Path) -> None:
    before = make_checkout(tmp_path)
    line = example("30 3 * * * ", MODELS).text
    for named in ("/opt/orders", "/var/lib/orders", "/var/backups/orders"):
        assert named in line
        line = line.replace(named, str(tmp_path))
    command = line.removeprefix("30 3 * * * ").replace(r"\%", "%")
    for number in (1, 2):
        with ServerProcess(tmp_path / "orders.db") as server:
            assert server.post(order(number)).status == 202
            done = subprocess.run([*before, "sh", "-c", command], capture_output=True, check=True)
            assert (done.stdout, done.stderr) == (b"", b"")
            assert server.stop() == 0
    [backup] = [file for file in tmp_path.glob("*.db") if file.name != "orders.db"]
    with ServerProcess(backup) as server:
        assert_all_completed(server, [1, 2])
