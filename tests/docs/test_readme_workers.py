"""Tests the examples of workers/README.md: a real server calls the function and the webhook receiver."""

import base64
import os
import subprocess
from pathlib import Path

import pytest

from tests.live_orders import wait_until_processed
from tests.process import ROOT, ServerProcess, free_port, order
from tests.readme import WORKERS, example, flags_of, make_checkout, run_shell

pytestmark = pytest.mark.slow


def test_the_function_completes_rejects_and_postpones_orders(tmp_path: Path) -> None:
    code = example("def fulfil(order: Order) -> None:", WORKERS).text
    assert "RetryLater(60," in code
    (tmp_path / "shop.py").write_text(code.replace("RetryLater(60,", "RetryLater(2,"))
    flags = flags_of(example("--processor shop:fulfil", WORKERS))
    with ServerProcess(tmp_path / "orders.db", *flags, before=make_checkout(tmp_path)) as server:
        assert server.post(order(1)).status == 202
        assert server.post(order(2) | {"total_amount": 5000.01}).status == 202
        assert server.post(order(3) | {"item_ids": [999]}).status == 202
        wait_until_processed(server)
        ends = [server.get(f"/order/{order_id}").body for order_id in (1, 2, 3)]
    assert [(end["status"], end["attempts"]) for end in ends] == [("Completed", 1), ("Failed", 1), ("Completed", 2)]
    assert ends[1]["error"] == "over the limit of this shop"
    assert ends[2]["processing_time"] >= 2


def test_the_test_of_the_function_passes(tmp_path: Path) -> None:
    for name in ("shop.py", "test_shop.py"):
        (tmp_path / name).write_text(example(f"# {name}\n", WORKERS).text)
    before = make_checkout(tmp_path)
    command = example("python -m unittest", WORKERS).text.split()
    done = subprocess.run(
        [*before, *command], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "OK"), done.stderr


def test_the_receiver_accepts_the_webhook(tmp_path: Path) -> None:
    listener, port = free_port()
    listener.close()
    before = make_checkout(tmp_path)
    (tmp_path / "receiver.py").write_text(example("class Receiver", WORKERS).text.replace("9000", str(port)))
    secret = example("export ORDERS_WEBHOOK_SECRET=", WORKERS)
    shown = run_shell(secret._replace(text=secret.text + "; printenv ORDERS_WEBHOOK_SECRET")).strip()
    assert len(base64.b64decode(shown.removeprefix("whsec_"), validate=True)) == 32
    environment = {"ORDERS_WEBHOOK_SECRET": shown}
    start = example("python receiver.py &", WORKERS).text.removesuffix(" &")
    webhook = flags_of(example("--processor webhook --webhook-url", WORKERS))
    flags = [flag.replace("9000", str(port)) for flag in webhook]
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
