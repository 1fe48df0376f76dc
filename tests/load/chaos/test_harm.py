"""Harm that has no effect does not count."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from load.chaos.harm import Effect, Harm
from load.chaos.lifecycle import Lifecycle
from load.chaos.plan import Fault, Kind, Manner
from load.chaos.receiver import Receiver
from load.chaos.shop import Shop as ChaosShop
from tests.load.chaos.webhooks import new_deliveries


def do(harmed: ChaosShop, kind: Kind, *, manner: str = "", count: int = 1) -> Effect:
    fault = Fault(kind=kind, shop=harmed.name, pause_s=0, length_s=0.01, manner=manner, count=count)

    async def run() -> Effect:
        with Receiver(new_deliveries()) as receiver:
            lifecycle = Lifecycle(clock_s=time.monotonic)
            return await Harm(lifecycle=lifecycle, receiver=receiver, seed=1, ended=threading.Event()).do(harmed, fault)

    return asyncio.run(run())


@pytest.mark.parametrize("kind", [Kind.FREEZE, Kind.FULL_DISK, Kind.LOCK, Kind.CHECKPOINT])
def test_where_there_is_no_server_and_no_database_there_is_no_effect(
    kind: Kind, harmed: ChaosShop, tmp_path: Path
) -> None:
    assert not do(harmed, kind, manner="FULL").made
    assert [*(tmp_path / "record").iterdir()] == []


@pytest.mark.parametrize("manner", list(Manner))
def test_a_receiver_that_nobody_turned_to_has_failed_nobody(manner: Manner, harmed: ChaosShop) -> None:
    assert not do(harmed, Kind.RECEIVER, manner=manner.value).made


def test_clients_that_met_somebody_have_vanished(harmed: ChaosShop) -> None:
    assert do(harmed, Kind.VANISH, count=4) == Effect(True, "4 of 4 clients went in the middle")
