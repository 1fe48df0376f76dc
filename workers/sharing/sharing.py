"""Everything that a server does because other servers can use the same database. Runs on the event loop."""

from workers.dispatch.dispatcher import Dispatcher
from workers.observer import ServiceObserver
from workers.processors.claim_gate import ClaimGate
from workers.sharing.end_polling import EndPolling
from workers.sharing.feed_polling import FeedPolling
from workers.sharing.lease_renewal import LeaseRenewal
from workers.store_threads import StoreThreads
from workers.waiters import CompletionWaiters


class DatabaseSharing:
    """Renews the lease, and learns what other servers have changed. If nobody can share the store, does almost nothing.

    Call `start`, `stop` and `close`, in this order.
    """

    def __init__(
        self,
        threads: StoreThreads,
        *,
        observer: ServiceObserver,
        waiters: CompletionWaiters,
        dispatcher: Dispatcher,
        gate: ClaimGate,
    ) -> None:
        has_feed = threads.store.feed is not None
        self._lease_renewal = LeaseRenewal(threads.tends, store=threads.store, dispatcher=dispatcher, gate=gate)
        self._feed_polling = FeedPolling(threads.feed, observer=observer) if has_feed else None
        self._end_polling = EndPolling(threads.ends, waiters=waiters) if has_feed else None

    @property
    def reports_changes(self) -> bool:
        """Whether this object reports all changes to the observer, including the changes of this server."""
        return self._feed_polling is not None

    def start(self) -> None:
        """Begins. The store must be open."""
        self._lease_renewal.start()
        if self._feed_polling and self._end_polling:
            self._feed_polling.start()
            self._end_polling.start()

    def end_pause(self) -> bool:
        """Ends the pause of the gate, because this server has resumed processing. Returns False if there is no pause.

        The other servers also end their pauses.
        """
        return self._lease_renewal.end_pause()

    def stop(self) -> None:
        """Ends everything except the reports of changes. Can be called twice, and before `start`."""
        self._lease_renewal.stop()
        if self._end_polling:
            self._end_polling.stop()

    async def close(self) -> None:
        """Reports the last changes. Must be called after the last write of this server. Can be called twice."""
        if self._feed_polling:
            await self._feed_polling.stop()
