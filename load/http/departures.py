"""Owns how punctually the requests of an open loop were sent, on the event loop's thread."""

from array import array

from load.results.percentile import percentile_of


class Departures:
    """How late every request was sent that had a free connection, and how long the others waited for one.

    Where a connection was free, the lateness is the client's own; where none was, it is the server's. What was due
    before `counted_from_ns` is not counted. Times are in nanoseconds; `last_wait_ns` is that of the last request.
    """

    def __init__(self, *, counted_from_ns: int = 0) -> None:
        self.counted_from_ns = counted_from_ns
        self.late_ns = array("q")
        self.waited = 0
        self.longest_wait_ns = 0
        self.last_wait_ns = 0

    def note(self, *, due_ns: int, sent_ns: int, had_connection: bool) -> None:
        """Count a request that is being sent."""
        late_ns = max(0, sent_ns - due_ns)
        self.last_wait_ns = 0 if had_connection else late_ns
        if due_ns < self.counted_from_ns:
            return
        if had_connection:
            self.late_ns.append(late_ns)
        else:
            self.waited += 1
            self.longest_wait_ns = max(self.longest_wait_ns, late_ns)

    @property
    def count(self) -> int:
        """How many requests were sent."""
        return len(self.late_ns) + self.waited

    def later_than(self, limit_ns: float) -> int:
        """Count the requests that had a free connection and were sent later than that all the same."""
        return sum(late_ns > limit_ns for late_ns in self.late_ns)

    @property
    def late_p99_ns(self) -> int | None:
        """The time by which 99 % of the requests that had a free connection were late at most; None where none had."""
        return percentile_of(sorted(self.late_ns), 99) if self.late_ns else None
