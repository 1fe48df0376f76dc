"""How punctually the requests of an open loop were sent. Values that the event loop writes."""

from array import array


class SendDelays:
    """How late every request was sent that had a free connection, and how long the others waited for one.

    With a free connection the delay is the client's own; without one, it is the server's. Requests due before
    `counted_from_ns` are not counted. Times are in nanoseconds; `last_wait_ns` is that of the last request.
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
        """Count the requests that had a free connection and were still sent later than that."""
        return sum(late_ns > limit_ns for late_ns in self.late_ns)
