"""The results of all kinds of writes."""

from models.order import Order
from models.writes.attempts import ClaimedOrders
from models.writes.commands import RetriedOrders, StatusChanged
from models.writes.insertion import Insertion, InsertResult

WriteResult = (
    Insertion | list[InsertResult] | ClaimedOrders | StatusChanged | RetriedOrders | Order | bool | Exception | None
)
"""The result of any write. If the result is an exception, only the caller of this write gets it."""
