"""A typed client that openapi-python-client generates from the document of a running server."""

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from tests.process import HANGS_AFTER_S, ServerProcess, run_server

CONFIG = "post_hooks: []\n"
"""Without this line, the generator formats the code with a ruff on PATH."""
NDJSON = "Unsupported content type application/x-ndjson"
"""The only warning of the generator, which does not support this content type."""

pytestmark = pytest.mark.slow


class Generated(NamedTuple):
    """The generated package, and the output of the generator."""

    package: ModuleType
    output: str

    def module(self, name: str) -> Any:
        return importlib.import_module(f"{self.package.__name__}.{name}")


def generate(server: ServerProcess, folder: Path, name: str) -> Generated:
    config = folder / "config.yaml"
    config.write_text(f"{CONFIG}package_name_override: {name}\n")
    url = f"http://127.0.0.1:{server.port}/openapi.json"
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--url", url, "--config", str(config)]
    done = subprocess.run(
        [*command, "--output-path", str(folder / "client")],
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER_S,
        check=True,
    )
    sys.path.insert(0, str(folder / "client"))
    try:
        return Generated(importlib.import_module(name), done.stdout + done.stderr)
    finally:
        sys.path.pop(0)


def test_a_generated_client_has_every_schema_and_places_orders(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server:
        made = generate(server, tmp_path, "orders_without_keys")
        assert re.findall(r"WARNING .*|ERROR.*|Unsupported .*|Cannot .*|Could not .*", made.output) == [
            "WARNING parsing POST /orders within many_orders.",
            NDJSON,
        ]
        models: Any = made.module("models")
        schemas = server.get("/openapi.json").body["components"]["schemas"]
        assert set(schemas) - set(models.__all__) == set()
        client = made.module("client").Client(base_url=f"http://127.0.0.1:{server.port}")
        order = models.OrderBody(order_id=12345, user_id=1, item_ids=[101, 102], total_amount=99.99)
        send, look = made.module("api.one_order.send_order"), made.module("api.one_order.get_order")
        with client:
            accepted = send.sync(client=client, body=order)
            assert accepted == models.SendOrderResponse202(
                message="Order processing initiated successfully", order_id="12345"
            )
            found = look.sync(12345, client=client, wait=10)
            assert isinstance(found, models.OrderView)
            assert (found.item_ids, found.total_amount, found.status) == ([101, 102], 99.99, models.Status.COMPLETED)
            order.user_id = 2
            conflict = send.sync(client=client, body=order)
            assert isinstance(conflict, models.OrderConflictProblem)
            order.item_ids = []
            invalid = send.sync(client=client, body=order)
            assert isinstance(invalid, models.InvalidOrderProblem)
            assert [error.pointer for error in invalid.errors] == ["#/item_ids"]
            order.order_id, order.item_ids = 12346, [1]
            many = made.module("api.many_orders.send_orders").sync(client=client, body=[order])
            assert (type(many), many.accepted) == (models.BulkView, 1)
            page = made.module("api.many_orders.list_orders").sync(client=client, limit=1)
            assert [each.order_id for each in page.orders] == [12346]


def test_a_client_of_a_server_with_keys_sends_its_key(tmp_path: Path) -> None:
    _, printed, _ = run_server("--new-api-key", "shop", "--scope", "write")
    _, key, _, _, line = printed.splitlines()
    (tmp_path / "keys.txt").write_text(line)
    with ServerProcess(tmp_path / "orders.db", "--api-keys", str(tmp_path / "keys.txt")) as server:
        made = generate(server, tmp_path, "orders_with_keys")
        models: Any = made.module("models")
        module = made.module("client")
        send = made.module("api.one_order.send_order")
        order = models.OrderBody(order_id=1, user_id=1, item_ids=[1], total_amount="0.10")
        for token, answer in ((key, models.SendOrderResponse202), ("x", models.UnauthorizedProblem)):
            with module.AuthenticatedClient(base_url=f"http://127.0.0.1:{server.port}", token=token) as client:
                assert type(send.sync(client=client, body=order)) is answer
