"""Tests the injection of faults. A fault without effect does not count."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from load.chaos.clients.disconnects import LINES_PER_REQUEST
from load.chaos.faults import Fault, FaultKind, ReceiverFault, SecondStart
from load.chaos.injection.injector import Effect, FaultInjector
from load.chaos.injection.second_server import SecondServers
from load.chaos.injection.sqlite_faults import SqliteFaults
from load.chaos.report import WRONG, Findings
from load.chaos.target import Target
from load.chaos.webhooks.receiver import Receiver
from load.system.ports import reserve_port
from models.sqlite.files.opening import open_database
from tests.load.chaos.webhooks.sample_webhooks import ORDERS, new_checker
from tests.load.shop import Shop
from tests.process import DEADLINE_S, wait_until


def inject(target: Target, kind: FaultKind, *, detail: str = "", count: int = 1, length_s: float = 0.01) -> Effect:
    fault = Fault(kind=kind, target=target.name, pause_s=0, length_s=length_s, detail=detail, count=count)

    async def run() -> Effect:
        receiver = Receiver(new_checker(), findings=Findings(target="webhook"))
        receiver.listen()
        try:
            return await new_injector(target, receiver).inject(target, fault)
        finally:
            receiver.close()

    return asyncio.run(run())


def new_injector(target: Target, receiver: Receiver) -> FaultInjector:
    second_servers = SecondServers(
        command=["-c", ""], folder=Path(target.database.addresses[0]).parents[1], orders=ORDERS, rng=Random(1)
    )
    faults = SqliteFaults(second_servers).methods
    return FaultInjector(receiver=receiver, storage_faults=faults, rng=Random(1), ended=threading.Event())


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        *((kind, "") for kind in (FaultKind.FREEZE, FaultKind.FULL_DISK, FaultKind.LOCK)),
        (FaultKind.CHECKPOINT, "FULL"),
        (FaultKind.STDERR, ""),
        *((FaultKind.SECOND, start.value) for start in SecondStart),
        *((kind, "") for kind in (FaultKind.DAMAGE, FaultKind.WAL)),
    ],
)
def test_without_a_server_and_a_database_there_is_no_effect(
    kind: FaultKind, detail: str, target: Target, tmp_path: Path
) -> None:
    effect = inject(target, kind, detail=detail)
    assert (effect.made, effect.is_possible) == (False, True)
    assert [*(tmp_path / "record").iterdir()] == []
    assert target.findings.problems[WRONG] == []


def test_problems_of_a_second_server_are_findings(target: Target, tmp_path: Path) -> None:
    open_database(Path(target.database.addresses[0]))
    assert inject(target, FaultKind.DAMAGE).made
    [(problem, _), *_] = target.findings.problems[WRONG]
    assert problem.startswith("a second server did not start: ")


def test_a_fault_that_this_machine_can_not_make_is_not_possible(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("load.chaos.databases.disk.SYSTEM_FOLDERS", "/nowhere")  # a machine without mkfs
    assert inject(target, FaultKind.READ_ONLY) == Effect(False, "mkfs.ext4 is not installed", is_possible=False)


@pytest.mark.parametrize("fault", list(ReceiverFault))
def test_a_receiver_fault_without_requests_has_no_effect(
    fault: ReceiverFault, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("load.chaos.injection.injector.FAILURE_LIMIT_S", 0.0)  # makes the test fast
    assert not inject(target, FaultKind.RECEIVER, detail=fault.value).made


def test_only_whole_orders_of_disconnected_clients_count_as_sent(
    target: Target, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("load.chaos.clients.disconnects.CONNECT_LIMIT_S", DEADLINE_S)  # longer, for a busy machine
    clients = 20
    effect = inject(target, FaultKind.VANISH, count=clients, length_s=0.05)
    assert effect == Effect(True, "20 of 20 clients disconnected in the middle of a request")
    ledger = target.ledger
    # Of four clients, the first sends a head, the second a part of a body, the third a whole body, and the fourth some
    # complete lines.
    assert len(ledger) == clients // 4 * (2 + LINES_PER_REQUEST)
    sent = {ledger.index_of(ledger.orders.order_id(index)) for index in range(len(ledger))} - {None}
    assert clients // 4 * 2 <= len(sent) <= len(ledger) - clients // 4 * 2
    wait_until(lambda: bool(shop.ids))
    assert {ledger.index_of(order_id) for order_id in shop.ids} <= sent


def test_clients_that_can_not_connect_have_no_effect(target: Target) -> None:
    reserved = reserve_port()
    try:
        target.nodes[0].address = replace(target.address, sockaddr=reserved.getsockname())
        effect = inject(target, FaultKind.VANISH, count=4)
        assert effect == Effect(False, "0 of 4 clients disconnected in the middle of a request")
    finally:
        reserved.close()
