"""Checks the orders and the totals in a target's database. Functions block."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from load.chaos.databases.database import Database
from load.chaos.inspection.archives import archived_orders
from load.chaos.report import (
    CLAIM_SENT_TWICE,
    DIFFERING,
    MISSING,
    REPEATED,
    STUCK,
    TOTALS,
    UNDELIVERED,
    UNKNOWN,
    WRONG,
    Findings,
)
from load.orders.comparison import BadJson, difference_in, find_contradiction
from load.orders.generated import SentOrders

COMPLETED = "Completed"
STATUSES = ("Pending", "Processing", COMPLETED, "Failed", "Cancelled")
MICROSECONDS = 1_000_000
ROUNDING_S = 1e-6  # How much a mean in floating point may differ from the exact mean.


def audit_database(
    database: Database,
    ledger: SentOrders,
    findings: Findings,
    *,
    metrics: object,
    delivered: Mapping[int, int] | None,
    answered: Mapping[int, int] = MappingProxyType({}),
    archives: Sequence[Path] = (),
    gone: Set[int] = frozenset(),
) -> None:
    """Compare the stored orders with `ledger`, with the table `totals`, and with `metrics`, the JSON of GET /metrics.

    `delivered` says how often each order was delivered: every stored order at least once, and at most once for each of
    its claims. It is None if orders are not delivered. `answered` says how often the receiver responded to each order's
    webhooks, also with an error: at most once for each claim. The orders in `archives` are not stored any more, except
    for their fingerprints. `gone` has the ids of orders that must be there. Adds findings.
    """
    try:
        with database.connect(is_read_only=True) as connection:
            for row, text in database.damage(connection):
                findings.add(row, text)
            rows = connection.execute(database.orders)
            counts, stored = _audit_orders(rows, ledger, findings, delivered, answered)
            fingerprints = {order_id for (order_id,) in connection.execute("SELECT order_id FROM fingerprints")}
            archived = _audit_archives(archives, ledger, findings, delivered, counts, stored)
            findings.archived = len(archived) if archives else None
            _add_ids(findings, "an order in an archive has no fingerprint", archived - fingerprints)
            _add_ids(findings, "an order with a fingerprint is in no archive", fingerprints - archived)
            _add_ids(findings, "a server responded with 410, but the order is in no archive", gone - archived)
            missing = (index for index in ledger.acknowledged_indexes() if index not in stored)
            findings.add_orders(MISSING, {ledger.orders.order_id(index): "" for index in missing})
            totals = connection.execute(database.totals)
            for text in chain(_compare_totals(totals, counts), _compare_metrics(metrics, counts)):
                findings.add(TOTALS, text)
    except database.error as problem:
        findings.add(WRONG, f"the database can't be read: {problem}")
    except (OSError, EOFError, BadJson) as problem:
        findings.add(WRONG, f"an archive can't be read: {problem}")


def _add_ids(findings: Findings, text: str, order_ids: Iterable[int]) -> None:
    for order_id in order_ids:
        findings.add(WRONG, text, order_id)


def _audit_archives(
    archives: Sequence[Path],
    ledger: SentOrders,
    findings: Findings,
    delivered: Mapping[int, int] | None,
    counts: Counter[str],
    stored: set[int],
) -> set[int]:
    """Check all archived orders. Add them to `counts` and to the indexes `stored`. Return their ids."""
    archived = set()
    for order in archived_orders(archives):
        order_id = order["order_id"]
        archived.add(order_id)
        counts["archived_completed"] += 1
        index = ledger.index_of(order_id)
        if index is None:
            findings.add(UNKNOWN, order_id=order_id)
            continue
        if index in stored:
            findings.add(WRONG, "an order is archived twice, or still stored", order_id)
        stored.add(index)
        if difference := difference_in(ledger.orders.order(index), order) or find_contradiction(order):
            findings.add(DIFFERING, f"in the archive: {difference}", order_id)
        if (status := order["status"]) != COMPLETED:
            findings.add(STUCK, f"{status} in the archive", order_id)
        counts[COMPLETED.lower()] += 1
        counts["processing_us"] += round((order.get("processing_time") or 0) * MICROSECONDS)
        if delivered is not None and order_id not in delivered:
            findings.add(UNDELIVERED, order_id=order_id)
    return archived


def _audit_orders(
    rows: Iterable[tuple[int, str, int | None, int]],
    ledger: SentOrders,
    findings: Findings,
    delivered: Mapping[int, int] | None,
    answered: Mapping[int, int],
) -> tuple[Counter[str], set[int]]:
    """Check all orders. Return their counts by status (in lower case), and their total processing time.

    The second result has the indexes of the orders in the ledger.
    """
    stored: set[int] = set()
    counts = Counter(dict.fromkeys([*map(str.lower, STATUSES), "processing_us", "archived_completed"], 0))
    for order_id, status, took_us, claims in rows:
        index = ledger.index_of(order_id)
        if index is None:
            findings.add(UNKNOWN, order_id=order_id)
        elif index in stored:
            findings.add(WRONG, "an order is stored twice", order_id)
        else:
            stored.add(index)
        if delivered is not None and (times := delivered.get(order_id, 0)) > claims:
            findings.add(REPEATED, f"delivered {times} times, claimed {claims} times", order_id)
        if (times := answered.get(order_id, 0)) and times > claims:
            findings.add(CLAIM_SENT_TWICE, f"sent {times} times, claimed {claims} times", order_id)
        counts[status.lower()] += 1
        if status != COMPLETED:
            findings.add(STUCK, status, order_id)
            continue
        counts["processing_us"] += took_us or 0
        if delivered is not None and order_id not in delivered:
            findings.add(UNDELIVERED, order_id=order_id)
    return counts, stored


def _compare_totals(cursor: Any, counts: Mapping[str, int]) -> Iterator[str]:
    rows = cursor.fetchall()
    if len(rows) != 1:
        yield f"totals has {len(rows)} rows"
        return
    totals = dict(zip((name for name, *_ in cursor.description), rows[0], strict=True))
    for name, count in counts.items():
        if totals.get(name) != count:
            yield f"totals has {name} {totals.get(name)}, counted {count}"


def _compare_metrics(given: object, counts: Mapping[str, int]) -> Iterator[str]:
    metrics = given if isinstance(given, dict) else {}
    expected = {f"{status.lower()}_orders": counts[status.lower()] for status in STATUSES}
    for name, count in (expected | {"total_orders": sum(expected.values())}).items():
        if metrics.get(name) != count:
            yield f"/metrics has {name} {metrics.get(name)}, counted {count}"
    completed = counts[COMPLETED.lower()]
    mean_s = counts["processing_us"] / completed / MICROSECONDS if completed else 0.0
    given_s = float("nan")
    with suppress(TypeError, ValueError):
        given_s = float(metrics.get("avg_processing_time", given_s))
    if not abs(given_s - mean_s) <= ROUNDING_S:
        yield f"/metrics has avg_processing_time {given_s:.6f}, counted {mean_s:.6f}"
