"""The readers of order events, by filter. Runs on the event loop."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from handlers.sse.event_log import ALL_EVENTS, Event
from handlers.sse.event_reader import OrderEventReader


class ReaderIndex:
    """The open readers. Finds the readers whose filter matches an event, without checking all readers."""

    def __init__(self) -> None:
        # A plain tuple can be used as a key, because it equals an EventFilter of the same values.
        self._by_filter: defaultdict[tuple[int | None, int | None], set[OrderEventReader]] = defaultdict(set)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[OrderEventReader]:
        """Iterates over a copy, so that readers can be removed during the iteration."""
        return iter([reader for readers in self._by_filter.values() for reader in readers])

    def add(self, reader: OrderEventReader) -> None:
        self._by_filter[reader.event_filter].add(reader)
        self._count += 1

    def discard(self, reader: OrderEventReader, /) -> None:
        """Removes the reader. Does nothing if it is not in the index."""
        readers = self._by_filter.get(reader.event_filter, set())
        if reader in readers:
            self._count -= 1
            readers.remove(reader)
            if not readers:
                del self._by_filter[reader.event_filter]

    def idle_unfiltered(self) -> list[OrderEventReader]:
        """The readers that have no filter and are not busy."""
        return [reader for reader in self._by_filter.get(ALL_EVENTS, ()) if not reader.is_busy]

    def match(self, events: Sequence[Event]) -> dict[OrderEventReader, list[bytes]]:
        """The texts of matching events, by reader. Omits readers without a filter, busy readers and readers without a
        match."""
        matches: defaultdict[OrderEventReader, list[bytes]] = defaultdict(list)
        if self._by_filter.keys() <= {ALL_EVENTS}:
            return matches
        for event in events:
            order_id, user_id = event.order_id, event.user_id
            for key in ((order_id, None), (None, user_id), (order_id, user_id)):
                for reader in self._by_filter.get(key, ()):
                    if not reader.is_busy:
                        matches[reader].append(event.text)
        return matches
