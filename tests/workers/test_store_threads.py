"""On which thread each call to the store runs, and in which sequence."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from models.database.health import StorageStatus, Work
from models.errors import StorageUnavailableError
from models.listing import HIGHEST, Listing, Page
from models.order import Attempt, Found, Totals
from models.store import Store
from models.writes.attempts import Outcome
from models.writes.insertion import Insertion
from models.writes.result import WriteResult
from models.writes.write import AnyWrite
from tests.models.new_store import open_new_store
from tests.models.samples import Clock, new_order
from tests.models.shorthand_store import ShorthandStore, retry_at_once
from tests.workers.recording_observer import RecordingObserver
from workers.store_threads import StoreThreads


class RecordingStore(ShorthandStore):
    """Records the thread and the name of each call."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.calls: list[tuple[str, str]] = []
        self.error: Exception | None = None

    def _record(self, name: str) -> None:
        self.calls.append((threading.current_thread().name.partition("_")[0], name))
        if self.error:
            raise self.error

    def connect(self) -> None:
        self._record("connect")
        super().connect()

    def disconnect(self) -> None:
        self._record("disconnect")
        super().disconnect()

    def recover(
        self, outcome_of: Callable[[Attempt], Outcome] = retry_at_once, *, longest_delay_us: int = HIGHEST
    ) -> int:
        self._record("recover")
        return super().recover(outcome_of, longest_delay_us=longest_delay_us)

    def write(self, batch: Sequence[AnyWrite], *, max_pending: int | None = None) -> list[WriteResult]:
        self._record("write")
        return super().write(batch, max_pending=max_pending)

    def find(self, order_ids: Sequence[int]) -> list[Found]:
        self._record("find")
        return super().find(order_ids)

    def list_orders(self, listing: Listing) -> Page:
        self._record("list_orders")
        return super().list_orders(listing)

    def totals(self) -> Totals:
        self._record("totals")
        return super().totals()

    def probe(self, work: Work) -> None:
        self._record(f"probe {work}")
        super().probe(work)

    def status(self) -> StorageStatus:
        self._record("status")
        return super().status()

    def close(self) -> None:
        self._record("close")
        super().close()


class NoHooks:
    """Hooks of a batcher that do nothing."""

    def before_batch(self) -> None:
        pass

    def after_batch(self, items: Sequence[Any], results: Sequence[Any]) -> None:
        pass


OPENED = [
    ("writer", "connect"),
    ("reader", "connect"),
    ("lister", "connect"),
    ("writer", "recover"),
    ("reader", "probe reads"),
    ("writer", "probe writes"),
]


@pytest.fixture
def recording_store(tmp_path: Path, clock: Clock) -> Iterator[RecordingStore]:
    new = open_new_store(tmp_path / "orders.db", clock=clock)
    yield RecordingStore(new.store)
    new.give_back()


def new_threads(store: Store, observer: RecordingObserver | None = None) -> StoreThreads:
    return StoreThreads(
        store, observer=observer or RecordingObserver(), hooks=NoHooks(), max_intake=100, max_backlog=100
    )


@pytest.mark.gen_test
async def test_open_connects_each_thread_and_then_recovers_the_store(recording_store: RecordingStore) -> None:
    threads = new_threads(recording_store)
    assert await threads.open(retry_at_once, longest_delay_us=HIGHEST) == 0
    assert recording_store.calls == OPENED
    await threads.close()


@pytest.mark.gen_test
async def test_each_kind_of_call_has_its_own_thread(recording_store: RecordingStore) -> None:
    threads = new_threads(recording_store)
    await threads.open(retry_at_once, longest_delay_us=HIGHEST)
    assert await threads.writes.submit(new_order(1)) is Insertion.ACCEPTED
    await threads.probe(Work.WRITES)
    await threads.probe(Work.READS)
    order = await threads.finds.submit(1)
    assert order is not None
    assert (await threads.totals.submit(None)).pending == 1
    assert (await threads.statuses.submit(None)).database_bytes
    assert (await threads.listings.submit(Listing(limit=1))).orders == [order]
    assert recording_store.calls[len(OPENED) :] == [
        ("writer", "write"),
        ("writer", "probe writes"),
        ("reader", "probe reads"),
        ("reader", "find"),
        ("reader", "totals"),
        ("reader", "status"),
        ("lister", "list_orders"),
    ]
    await threads.close()


@pytest.mark.gen_test
async def test_concurrent_requests_for_totals_and_probes_share_a_call(recording_store: RecordingStore) -> None:
    threads = new_threads(recording_store)
    await threads.open(retry_at_once, longest_delay_us=HIGHEST)
    totals = [threads.totals.submit(None) for _ in range(3)]
    probes = [threads.probe(Work.WRITES) for _ in range(3)]
    results = [await each for each in totals]
    assert results == [results[0]] * 3
    for probe in probes:
        await probe
    assert sorted(recording_store.calls[len(OPENED) :]) == [("reader", "totals"), ("writer", "probe writes")]
    await threads.close()


@pytest.mark.gen_test
async def test_close_disconnects_the_writer_last_and_then_closes_the_store(recording_store: RecordingStore) -> None:
    threads = new_threads(recording_store)
    await threads.open(retry_at_once, longest_delay_us=HIGHEST)
    await threads.close()
    await threads.close()
    assert recording_store.calls[len(OPENED) :] == [
        ("reader", "disconnect"),
        ("lister", "disconnect"),
        ("writer", "disconnect"),
        ("MainThread", "close"),
    ]


@pytest.mark.gen_test
async def test_the_observer_receives_the_duration_of_a_failed_write(recording_store: RecordingStore) -> None:
    observer = RecordingObserver()
    threads = new_threads(recording_store, observer)
    await threads.open(retry_at_once, longest_delay_us=HIGHEST)
    recording_store.error = StorageUnavailableError("disk is full")
    with pytest.raises(StorageUnavailableError, match="disk is full"):
        await threads.writes.submit(new_order(1))
    assert len(observer.commits_s) == 1
    recording_store.error = None
    await threads.close()
