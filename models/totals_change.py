"""What a transaction adds to the totals. Used on the thread of the transaction."""

from msgspec import Struct


class TotalsChange(Struct):
    """What a transaction adds to the totals. Each step of the transaction adds its own changes."""

    pending: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    processing_us: int = 0
