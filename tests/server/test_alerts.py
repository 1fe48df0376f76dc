"""A real Prometheus that reads a real server, and the alerts that fire while the server has faults."""

import contextlib
import itertools
import json
import re
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from load.system.ports import reserve_port
from tests.process import ServerProcess, need, order, wait_until
from tests.prometheus import ALERTS, rules
from tests.receiver import SECRET, Receiver, Reply
from tests.storage_faults import full_disk

pytestmark = pytest.mark.slow

SHORTER = (
    (r"(?m)^( +)for: \w+$", r"\1for: 0s"),
    (r"\[\d+[mh]\]", "[20s]"),
    (r"offset \d+m", "offset 20s"),
    (r"orders_oldest_pending_seconds > 600", "orders_oldest_pending_seconds > 1"),
)
"""Replacements in the alerts, so that they fire within seconds."""
RESUME = "/processing/resume"


class Prometheus:
    """A Prometheus that reads the metrics of the server at `port` each second, and checks the shortened alerts."""

    def __init__(self, folder: Path, port: int) -> None:
        self._reserved = reserve_port()
        self._port = self._reserved.getsockname()[1]
        text = ALERTS.read_text()
        for pattern, shorter in SHORTER:
            text, count = re.subn(pattern, shorter, text)
            assert count, pattern
        (folder / "alerts.yml").write_text(text)
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["alerts.yml"],
            "scrape_configs": [{"job_name": "orders", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._log = folder / "log.txt"
        command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, f"--web.listen-address=127.0.0.1:{self._port}"], stdout=log, stderr=log
            )

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reserved.close()

    def ask(self, path: str) -> Any:
        assert self._process.poll() is None, self._log.read_text()
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v1/{path}") as response:
            return json.load(response)["data"]

    def has_scraped(self) -> bool:
        """Whether Prometheus has metrics of the server that are as old as the windows of the shortened alerts."""
        return bool(self.ask("query?query=orders_uptime_seconds%20offset%2020s")["result"])

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        return {each["labels"]["alertname"] for each in self.ask("alerts")["alerts"] if each["state"] == "firing"}

    def summaries(self) -> Mapping[str, str]:
        return {each["labels"]["alertname"]: each["annotations"]["summary"] for each in self.ask("alerts")["alerts"]}

    def wait_for(self, *names: str, cause: Callable[[], object] = bool) -> None:
        """Calls `cause` again and again, until all of these alerts have fired."""
        missing = set(names)
        assert missing <= {rule["alert"] for rule in rules()}

        def have_fired() -> bool:
            cause()
            missing.difference_update(self.firing())
            return not missing

        wait_until(have_fired)

    def wait_until_silent(self, *names: str) -> None:
        """Waits until none of these alerts fires."""
        wait_until(lambda: self.firing().isdisjoint(names))


@contextlib.contextmanager
def prometheus_for(server: ServerProcess, folder: Path) -> Iterator[Prometheus]:
    need("prometheus")
    folder.mkdir()
    prometheus = Prometheus(folder, server.port)
    try:
        yield prometheus
    finally:
        prometheus.close()


def accept(server: ServerProcess, *order_ids: int) -> None:
    for order_id in order_ids:
        assert server.post(order(order_id)).status == 202


def accept_many(server: ServerProcess, order_ids: Sequence[int]) -> None:
    with server.client() as client:
        body = "".join(f"{json.dumps(order(order_id))}\n" for order_id in order_ids)
        client.request("POST", "/orders", body, {"Content-Type": "application/x-ndjson"})
        assert client.answer().body["accepted"] == len(order_ids)


def refuse(server: ServerProcess, order_ids: Sequence[int]) -> None:
    with server.client() as client:
        assert {client.post(order(order_id)).status for order_id in order_ids} == {503}


def post(server: ServerProcess, path: str) -> None:
    with server.client() as client:
        assert client.ask("POST", path).status == 200


@pytest.mark.sqlite
def test_prometheus_reports_the_faults_of_a_server(tmp_path: Path) -> None:
    flags = ("--processor", "webhook", "--webhook-secret", SECRET)
    with Receiver(lambda delivery: Reply(200)) as receiver, contextlib.ExitStack() as stack:
        server = stack.enter_context(ServerProcess(tmp_path / "orders.db", *flags, "--webhook-url", receiver.url))
        prometheus = stack.enter_context(prometheus_for(server, tmp_path / "prometheus"))
        accept(server, 1)
        wait_until(prometheus.has_scraped)
        assert prometheus.firing() == set()

        receiver.behave = lambda delivery: Reply(422)
        ids = itertools.count(2)
        prometheus.wait_for("OrdersFailed", "OrdersAttemptsFail", cause=lambda: accept(server, next(ids)))

        receiver.stop()
        accept(server, *itertools.islice(ids, 10))
        prometheus.wait_for("OrdersWebhooksPaused")
        receiver.behave = lambda delivery: Reply(200)
        receiver.start()
        post(server, RESUME)
        prometheus.wait_until_silent("OrdersWebhooksPaused")

        post(server, "/processing/pause")
        accept_many(server, list(itertools.islice(ids, 1_000)))
        prometheus.wait_for(
            "OrdersProcessingPaused",
            "OrdersBacklogGrows",
            "OrdersOldestPendingTooOld",
            cause=lambda: accept_many(server, list(itertools.islice(ids, 10))),
        )
        assert prometheus.summaries()["OrdersProcessingPaused"].endswith(f" 127.0.0.1:{server.port}")

        with full_disk(server, has_room=False):
            prometheus.wait_for(
                "OrdersStorageDown",
                "OrdersStorageErrors",
                "OrdersServerErrors",
                cause=lambda: refuse(server, [next(ids) for _ in range(20)]),
            )
        prometheus.wait_until_silent("OrdersStorageDown")
        accept(server, next(ids))
        post(server, RESUME)
        prometheus.wait_until_silent("OrdersProcessingPaused", "OrdersBacklogGrows", "OrdersOldestPendingTooOld")

        server.kill()
        prometheus.wait_for("OrdersServerDown")
