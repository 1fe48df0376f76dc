"""Reads the archives to which servers with `--archive` have moved old orders. Functions block."""

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from load.orders.comparison import BadJson, decode_json

FILES = "orders-*.ndjson.gz"


def archived_orders(folders: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Yield the orders in these archives. Raises BadJson for a line that is no order, and OSError or EOFError for a
    file that can't be decompressed."""
    for folder in folders:
        for path in sorted(folder.glob(FILES)):
            with gzip.open(path) as lines:
                for line in lines:
                    order = decode_json(line)
                    if not isinstance(order, dict) or not isinstance(order.get("order_id"), int):
                        raise BadJson(f"{path}: a line is no order")
                    yield order
