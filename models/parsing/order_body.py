"""The JSON body of an order, and the limits of its fields. Immutable values; usable on any thread."""

from decimal import Decimal
from typing import Annotated

import msgspec

MAX_ID = 2**63 - 1
MAX_ITEMS = 1_000
MAX_AMOUNT = Decimal("9999999999.9999")
MAX_WHOLE_DIGITS = len(str(int(MAX_AMOUNT)))
MAX_METADATA_BYTES = 16 * 1024
MAX_ORDER_BYTES = 64 * 1024
"""The maximum size of a whole order as JSON."""

Id = Annotated[int, msgspec.Meta(ge=1, le=MAX_ID)]


class OrderBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One order as a client sends it."""

    order_id: Id
    user_id: Id
    item_ids: Annotated[list[Id], msgspec.Meta(min_length=1, max_length=MAX_ITEMS)]
    # Raw, because making an integer from the digits is faster than making a Decimal.
    total_amount: msgspec.Raw
    # Raw, because metadata is stored exactly as it was sent.
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


REQUIRED = tuple(field.name for field in msgspec.structs.fields(OrderBody) if field.required)
"""The names of the required fields."""
