"""The changes of the totals by a transaction. Used on the thread of the transaction."""

from msgspec import Struct


class TotalsChange(Struct):
    """The changes of the totals by a transaction. Each step of the transaction adds its own changes."""

    pending: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    processing_us: int = 0
    archived_completed: int = 0
    archived_cancelled: int = 0
    archived_processing_us: int = 0
