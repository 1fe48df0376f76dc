"""The servers that use one database. Values are immutable."""

from msgspec import Struct


class Server(Struct, frozen=True, gc=False):
    """A server that uses the database, as another one sees it. Times and durations are those of the database's clock.

    A server that has lost its lease, for example because it was frozen, comes back with a new number.
    """

    number: int
    name: str
    """The name of the machine and the process id: `host:pid`."""
    started_us: int
    """When the server got its number, in microseconds since 1970, UTC."""
    lease_age_s: float
    """How many seconds ago the server has renewed its lease."""
    is_alive: bool
    """False if the lease has expired. Then another server takes over the orders of this one."""
    processing: int
    """How many orders the server is processing."""
    is_this: bool
    """Whether this is the server that has read the list."""
