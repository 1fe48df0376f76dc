"""Whether reads and writes of the database work, and which errors occurred. Usable on any thread."""

import enum
import logging
import re
import threading
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from models.database.servers import Server
from models.errors import StorageDamagedError, StorageError

MAX_LOGGED_ORDERS = 100
"""The maximum number of damaged orders that are logged. Orders that can be read and written again do not count."""

_ORDER = re.compile(r"(?:the history of )?order ([0-9]+)")
"""A `Damage.what` that names an order by its id."""

_log = logging.getLogger("orders.storage")


class Work(enum.StrEnum):
    """The two kinds of work with a database. One kind can fail while the other kind succeeds."""

    READS = "reads"
    WRITES = "writes"


class StorageStatus(Struct, frozen=True):
    """The state of the storage at one moment. A size is None if it can't be determined."""

    up: dict[Work, bool]
    """Whether each kind of work succeeds."""
    errors: dict[str, int]
    """The number of errors since the server started, by `StorageError.code`."""
    database_bytes: int | None
    wal_bytes: int | None
    free_bytes: int | None
    """The space that the server can still use on the disk."""
    servers: Sequence[Server] = ()
    """The servers that use the database, as of about a second ago. Empty if no other server can use it."""


class Damage(NamedTuple):
    """A damaged part of the database, and the error that reading or writing this part raised.

    `what` names the part, such as `order 5`. `effect` is added to the log line about the damage, such as `, and stays
    Pending`.
    """

    what: str
    error: StorageError
    effect: str = ""


class StorageHealth:
    """Remembers which kinds of work fail. Logs when a kind of work begins to fail, and when it succeeds again.

    Also counts all errors, and logs damaged orders.

    `advice` names the database file and a command that checks this file. Each log line about damage ends with `advice`,
    unless the error has its own advice.
    """

    def __init__(self, *, advice: str) -> None:
        self._advice = advice
        self._lock = threading.Lock()
        self._failing: dict[Work, StorageError] = {}
        self._errors: Counter[str] = Counter()
        self._logged_damage: set[str] = set()

    def is_up(self, work: Work) -> bool:
        """False after `note_failure` for this kind of work, until `note_success` is called for it."""
        return work not in self._failing

    def errors(self) -> dict[str, int]:
        """The number of errors since the server started, by `StorageError.code`."""
        with self._lock:
            return dict(self._errors)

    def note_failure(self, work: Work, error: StorageError) -> None:
        """Records that this kind of work fails.

        Logs the first failure. Also logs the first failure because of damage, if earlier failures had other causes.
        """
        with self._lock:
            self._errors[error.code] += 1
            previous = self._failing.get(work)
            is_damage = isinstance(error, StorageDamagedError)
            if previous and (isinstance(previous, StorageDamagedError) or not is_damage):
                return
            self._failing[work] = error
        level, advice = (logging.ERROR, self._advice_for(error)) if is_damage else (logging.WARNING, "")
        _log.log(level, "%s of the database fail: %s (%s)%s", work, error, error.code, advice)

    def note_success(self, work: Work) -> None:
        """Records that this kind of work succeeds. Logs the first success after a failure."""
        with self._lock:
            if self._failing.pop(work, None) is None:
                return
        _log.info("%s of the database work again", work)

    def note_damage(self, damage: Damage) -> None:
        """Records that a part of the database is damaged while other parts can be used. Logs each part once."""
        what, error, effect = damage
        with self._lock:
            self._errors[error.code] += 1
            if what in self._logged_damage or len(self._logged_damage) >= MAX_LOGGED_ORDERS:
                return
            self._logged_damage.add(what)
        advice = self._advice_for(error)
        text = "%s can't be read or written%s: %s (%s)%s"
        _log.error(text, what, effect, error, error.code, advice, extra=_fields_of(what))

    def note_repair(self, what: str) -> None:
        """Records that the part with this `Damage.what` is not damaged any more. Logs this if the damage was logged."""
        with self._lock:
            if what not in self._logged_damage:
                return
            self._logged_damage.remove(what)
        _log.info("%s can be read and written again", what, extra=_fields_of(what))

    def _advice_for(self, error: StorageError) -> str:
        return (isinstance(error, StorageDamagedError) and error.advice) or self._advice


def _fields_of(what: str) -> dict[str, dict[str, int]]:
    """The argument `extra` of a logging call about this part of the database."""
    found = _ORDER.fullmatch(what)
    return {"fields": {"order_id": int(found[1])} if found else {}}
