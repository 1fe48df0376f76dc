"""The README's requests and tables, held against a real server."""

import ast
import base64
import json
import os
import re
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from handlers.problems import problem as problems
from load.flags import parse_settings as parse_load_settings
from server import parse_settings
from tests.live_orders import wait_until_processed
from tests.process import ROOT, ServerProcess, free_port, need, order
from tests.readme import (
    LOAD,
    README,
    assert_shown,
    example,
    examples,
    flags_of,
    make_checkout,
    read_to,
    readme,
    run_shell,
    streaming,
)

DRAWING = "──►"


@pytest.mark.parametrize("page", [README, LOAD], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_example_is_run_by_a_test(page: Path) -> None:
    run = set()
    for path in (ROOT / "tests" / "docs").glob("test_readme*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(ast.Name("example"), [ast.Constant(str(text)), *_]):
                    # The example may be on the other page.
                    with suppress(ValueError):
                        run.add(example(text, page))
    assert [each.text for each in examples(page) if each not in run and DRAWING not in each.text] == []


def test_the_three_requests_answer_as_shown(tmp_path: Path) -> None:
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


@pytest.mark.slow
def test_the_other_requests_in_their_order_answer_as_shown(tmp_path: Path) -> None:
    need("curl")
    lines = (json.dumps(order(number) | {"user_id": 2}) for number in range(100, 200))
    (tmp_path / "orders.ndjson").write_text("\n".join(lines))
    with ServerProcess(tmp_path / "orders.db") as server:
        run = partial(run_shell, port=server.port, folder=tmp_path)
        run(example("curl -i http://127.0.0.1:8080/order -H 'Content-Type"))
        assert json.loads(run(example("/order/12345?wait=10")))["status"] == "Completed"
        head, _, body = run(example("Prefer: wait=10")).partition("\n\n")
        assert {"HTTP/1.1 200 OK", "Preference-Applied: wait=10"} <= set(head.splitlines())
        assert json.loads(body)["status"] == "Completed"
        run(example("curl http://127.0.0.1:8080/orders -H"))
        taken = json.loads(run(example("-T orders.ndjson")))
        assert taken == {"accepted": 100, "duplicates": 0, "rejected": [], "rejected_total": 0}
        wait_until_processed(server)
        run(example("/orders?status=Completed&user_id=1&limit=1"))
        document = json.loads(run(example("/openapi.json")))
        assert document["openapi"].startswith("3.1.")


@pytest.mark.slow
def test_events_come_as_shown(tmp_path: Path) -> None:
    need("curl")
    watch = example("curl -N http://127.0.0.1:8080/orders/events")
    with ServerProcess(tmp_path / "orders.db") as server, streaming(watch, port=server.port) as stream:
        read_to(stream, "id: ")
        run_shell(example("curl -i http://127.0.0.1:8080/order -H 'Content-Type"), port=server.port)
        assert watch.answer
        assert_shown(watch.answer, read_to(stream, '"Completed"'))


@pytest.mark.slow
def test_prometheus_reads_what_curl_gets_and_finds_the_names_in_it(tmp_path: Path) -> None:
    need("curl")
    with ServerProcess(tmp_path / "orders.db") as server:
        text = run_shell(example("Accept: text/plain"), port=server.port)
    families = list(text_string_to_metric_families(text))
    names = {family.name for family in families} | {sample.name for family in families for sample in family.samples}
    assert set(re.findall(r"`(orders_[a-z_]+)`", readme())) - names == set()


@pytest.mark.slow
def test_what_is_said_about_failed_orders_is_what_curl_gets(tmp_path: Path) -> None:
    need("curl")
    (tmp_path / "shop.py").write_text(
        "from workers.processors import Rejected\n\ndef no(order): raise Rejected('no')\n"
    )
    environment = {"PYTHONPATH": str(tmp_path)}
    with ServerProcess(tmp_path / "orders.db", "--processor", "shop:no", environment=environment) as server:
        run = partial(run_shell, port=server.port)
        server.post(order(12345))
        wait_until_processed(server)
        assert json.loads(run(example("/order/12345/cancel")))["order_status"] == "Failed"
        assert json.loads(run(example("/order/12345/retry")))["status"] == "Pending"
        wait_until_processed(server)
        assert json.loads(run(example("/orders/retry?status=Failed"))) == {"retried": 1}


@pytest.mark.slow
def test_the_function_completes_rejects_and_puts_off(tmp_path: Path) -> None:
    (tmp_path / "fulfil.py").write_text(example("def fulfil(order):").text)
    flags = flags_of(example("--processor fulfil:fulfil"))
    with ServerProcess(tmp_path / "orders.db", *flags, before=make_checkout(tmp_path)) as server:
        assert server.post(order(1)).status == 202
        assert server.post(order(2) | {"total_amount": 5000.01}).status == 202
        assert server.post(order(3) | {"item_ids": [999]}).status == 202
        wait_until_processed(server)
        ends = [server.get(f"/order/{order_id}").body for order_id in (1, 2, 3)]
    assert [(end["status"], end["attempts"]) for end in ends] == [("Completed", 1), ("Failed", 1), ("Completed", 2)]
    assert ends[1]["error"] == "over the limit of this shop"
    assert ends[2]["processing_time"] >= 2


@pytest.mark.slow
def test_the_receiver_takes_what_the_webhook_sends(tmp_path: Path) -> None:
    listener, port = free_port()
    listener.close()
    before = make_checkout(tmp_path)
    (tmp_path / "receiver.py").write_text(example("class Receiver").text.replace("9000", str(port)))
    secret = example("export ORDERS_WEBHOOK_SECRET=")
    shown = run_shell(secret._replace(text=secret.text + "; printenv ORDERS_WEBHOOK_SECRET")).strip()
    assert len(base64.b64decode(shown.removeprefix("whsec_"), validate=True)) == 32
    environment = {"ORDERS_WEBHOOK_SECRET": shown}
    start = example("python receiver.py &").text.removesuffix(" &")
    flags = [flag.replace("9000", str(port)) for flag in flags_of(example("--processor webhook --webhook-url"))]
    with (
        subprocess.Popen(
            [*before, *start.split()], env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
        ) as receiver,
        ServerProcess(tmp_path / "orders.db", *flags, before=before, environment=environment) as server,
    ):
        try:
            assert server.post(order(1)).status == 202
            wait_until_processed(server)
            assert server.get("/order/1").body["status"] == "Completed"
            assert receiver.stdout is not None
            assert receiver.stdout.readline() == "order 1: items [2, 2] for 1.25\n"
        finally:
            receiver.kill()


def test_the_table_of_errors_names_every_problem_and_no_other() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.*?) \|", readme(), re.MULTILINE)
    shown = sorted((int(status), slug) for status, slugs in rows for slug in re.findall(r"`([a-z-]+)`", slugs))
    kinds = [kind for kind in vars(problems).values() if isinstance(kind, problems.ProblemType)]
    assert shown == sorted((kind.status, kind.slug) for kind in kinds)


def test_the_table_of_flags_names_every_flag_and_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings(["--help"], {})
    helped = re.split(r"^  (?:-h, )?(?=--)", capsys.readouterr().out, flags=re.MULTILINE)[1:]
    flags = {text.split()[0].rstrip(","): re.findall(r"\(default:\s+(.*?)\)", text) for text in helped}
    rows = re.findall(r"^\| (`--.*?) \| (.*?) ?\| .* \|$", readme().partition("\n## Flags\n")[2], re.MULTILINE)
    table = {flag: default for names, default in rows for flag in re.findall(r"--[a-z-]+", names)}
    assert sorted(table) == sorted(flags)
    assert {flag: table[flag] or "none" for flag, said in flags.items() if said} == {
        flag: said[0] for flag, said in flags.items() if said
    }


def test_the_load_generator_knows_the_flags_shown() -> None:
    commands = re.findall(r"`python -m load ([^`]+)`", readme())
    assert commands
    for command in commands:
        parse_load_settings(command.split())
