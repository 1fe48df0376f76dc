"""Checks the requests, tables and configurations of handlers/README.md with a real server."""

import hashlib
import json
import re
import shlex
import subprocess
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from handlers.problems import problem as problems
from tests.live_orders import wait_until_processed
from tests.postgresql.databases import temporary_database
from tests.process import ServerProcess, need
from tests.readme import HANDLERS, SERVER, blocks, example, flags_of, make_checkout, run_shell


@pytest.mark.slow
def test_the_requests_get_the_responses_shown(tmp_path: Path) -> None:
    need("curl")
    with ServerProcess(tmp_path / "orders.db") as server:
        run = partial(run_shell, port=server.port, folder=tmp_path)
        run(example('"total_amount": 99.99}', HANDLERS))
        assert json.loads(run(example("/order/12345?wait=10", HANDLERS)))["status"] == "Completed"
        head, _, body = run(example("Prefer: wait=10", HANDLERS)).partition("\n\n")
        assert {"HTTP/1.1 200 OK", "Preference-Applied: wait=10"} <= set(head.splitlines())
        assert json.loads(body)["status"] == "Completed"
        run(example("curl http://127.0.0.1:8080/orders -H", HANDLERS))
        run(example("> orders.ndjson", HANDLERS))
        taken = json.loads(run(example("-T orders.ndjson", HANDLERS)))
        assert taken == {"accepted": 100, "duplicates": 0, "rejected": [], "rejected_total": 0, "refused_total": 0}
        wait_until_processed(server)
        run(example("/orders?status=Completed&user_id=1&limit=1", HANDLERS))
        document = json.loads(run(example("/openapi.json", HANDLERS)))
        assert document["openapi"].startswith("3.1.")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def test_the_metrics_are_valid_prometheus_text_and_include_those_named(engine: str, tmp_path: Path) -> None:
    need("curl")
    with ExitStack() as stack:
        flags = ("--database", stack.enter_context(temporary_database())) if engine == "postgresql" else ()
        server = stack.enter_context(ServerProcess(tmp_path / "orders.db", *flags))
        text = run_shell(example("Accept: text/plain", HANDLERS), port=server.port)
    families = list(text_string_to_metric_families(text))
    names = {family.name for family in families} | {sample.name for family in families for sample in family.samples}
    # A counter with labels has no sample before it counts something.
    names |= {f"{family.name}_total" for family in families if family.type == "counter"}
    named, of_other_engine = set[str](), set[str]()
    for line in HANDLERS.read_text().splitlines():
        in_line = re.findall(r"`(orders_[a-z_]+)`", line)
        named.update(in_line)
        [*engines] = re.findall("only on (SQLite|PostgreSQL)", line)
        if engines and engine not in map(str.lower, engines):
            of_other_engine.update(in_line)
    assert {"orders_ack_seconds", "orders_by_status"} <= named
    assert named - names == of_other_engine


def test_the_table_of_errors_lists_every_problem_and_no_other() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.*?) \|", HANDLERS.read_text(), re.MULTILINE)
    shown = sorted((int(status), slug) for status, slugs in rows for slug in re.findall(r"`([a-z-]+)`", slugs))
    kinds = [kind for kind in vars(problems).values() if isinstance(kind, problems.ProblemType)]
    assert shown == sorted((kind.status, kind.slug) for kind in kinds)


@pytest.mark.slow
def test_the_server_accepts_the_new_key_and_no_other(tmp_path: Path) -> None:
    need("curl")
    before = make_checkout(tmp_path)
    [create] = [block for block in blocks(HANDLERS) if "--new-api-key" in block.text]
    key = run_shell(create, folder=tmp_path).strip()
    assert re.fullmatch(r"orderskey_\S+", key)
    assert (tmp_path / "keys.txt").read_text() == f"checkout write {hashlib.sha256(key.encode()).hexdigest()}\n"
    flags = flags_of(example("--api-keys keys.txt --rate-limit", HANDLERS))
    with ServerProcess(tmp_path / "orders.db", *flags, before=before) as server:
        ask = example("Bearer $ORDERS_KEY", HANDLERS)
        answer = run_shell(ask, port=server.port, environment={"ORDERS_KEY": key})
        assert answer.startswith("HTTP/1.1 200 OK\n")
        assert '\nratelimit: "default";r=' in answer.lower()
        refused = run_shell(ask._replace(answer=""), port=server.port, environment={"ORDERS_KEY": key + "x"})
        assert refused.startswith("HTTP/1.1 401 ")
        assert server.get("/livez").status == 200


@pytest.mark.slow
def test_the_server_accepts_the_host_that_the_flag_names(tmp_path: Path) -> None:
    need("curl")
    ask = example("Host: shop.example", HANDLERS)
    flags = flags_of(example("--allowed-hosts shop.example", HANDLERS))
    with ServerProcess(tmp_path / "orders.db", *flags) as server:
        run_shell(ask, port=server.port)
    with ServerProcess(tmp_path / "other.db") as server:
        assert "/problems/misdirected-request" in run_shell(ask._replace(answer=""), port=server.port)


def unit_in(folder: Path) -> str:
    """The systemd unit of the page, with each path replaced by `folder`."""
    unit = example("[Unit]", HANDLERS).text
    for path, here in (("/opt/orders", folder), ("/var/lib/orders", folder), ("/etc/orders", folder)):
        assert path in unit
        unit = unit.replace(path, str(here))
    return unit


@pytest.mark.slow
def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    need("systemd-analyze")
    make_checkout(tmp_path)
    unit = tmp_path / "orders.service"
    unit.write_text(unit_in(tmp_path))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # The exposure level, in tenths.
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_command_of_the_unit_starts_the_server(tmp_path: Path) -> None:
    before = make_checkout(tmp_path)
    (tmp_path / "keys.txt").write_text(f"checkout write {'0' * 64}\n")
    [command] = re.findall(r"^ExecStart=(.*)$", unit_in(tmp_path), re.MULTILINE)
    words = shlex.split(command)
    assert words[:4] == [str(tmp_path / SERVER[0]), *SERVER[1:], "--port", "8080"]
    with ServerProcess(tmp_path / "unused.db", *words[4:], before=before) as server:
        assert server.get("/metrics").status == 401
        assert server.get("/readyz").status == 200
        assert (tmp_path / "orders.db").exists()
        assert server.stop() == 0
