"""Sentences that belong to a run's figures: why orders were refused, and what limited the figures. Pure functions."""

from collections.abc import Iterator

from load.cli.text import printable
from load.results.result import Result
from load.settings import Settings

MANY_WAITED = 0.01


def notes_of(result: Result, settings: Settings) -> list[str]:
    """Return the sentences, for the terminal, --json and the report."""
    notes = [*_order_notes(result, settings)]
    if result.recording and not result.counted:
        notes.append(
            f"Everything fell into the warm-up of {result.warm_up_s:g} s, so there are no figures: send for longer."
        )
    return [*notes, *filter(None, [_limit(result, settings)])]


def _order_notes(result: Result, settings: Settings) -> Iterator[str]:
    tally = result.tally
    if wrong := tally.wrong_202.total():
        note = f"A wrong 202 was the answer to {_orders(wrong)}, which fails the run: a 202 is a promise."
        if settings.bulk:
            note += " Which of them were promised is not known, so they are not read back."
        yield note
    for status, (order_id, reason) in sorted(tally.examples.items()):
        yield f"Status {status}, order {order_id} for instance: {printable(reason)}"
    # The response to a duplicate costs the server less than one to a new order.
    if tally.duplicates and not settings.first_id and not settings.replay:
        were = "was" if tally.duplicates == 1 else "were"
        yield f"{_orders(tally.duplicates)} {were} there already: another run uses the same ids."


def _limit(result: Result, settings: Settings) -> str:
    """Say what limited the figures, or ""."""
    delays = result.delays
    if result.stopped_s is not None:
        return _stopped_note(result, result.stopped_s)
    if result.was_busy:
        return (
            f"The load generator was the limit: it used {result.cpu_share:.0%} of a core while it sent, "
            "so the server may take more than this."
        )
    if delays is None:
        return ""
    if result.was_late:
        limit_s = result.late_limit_s
        return (
            f"The load generator was the limit: it sent {delays.later_than(limit_s * 1e9):,} of "
            f"{len(delays.late_ns):,} requests that had a free connection more than {limit_s * 1e3:,.0f} ms after they "
            "were due, so the server may be faster than this."
        )
    if result.behind_s:
        return (
            f"The server did not keep up: {result.orders_per_second or 0:,.0f} of {settings.rate or 0:,.10g} orders/s "
            f"were answered; the last one was sent {result.behind_s:,.1f} s after it was due."
        )
    if delays.waited > MANY_WAITED * delays.count:
        return (
            f"{delays.waited:,} of {delays.count:,} requests waited for a free connection, "
            f"up to {delays.longest_wait_ns / 1e9:,.3f} s: the server stalled, or --concurrency is too low."
        )
    return ""


def _stopped_note(result: Result, stopped_s: float) -> str:
    tally = result.tally
    answered = tally.sent > tally.errors.total()
    note = f"The server {f'stopped answering {stopped_s:,.1f} s after the start' if answered else 'did not answer'}"
    if unsent := result.orders - tally.sent:
        note += f"; {_orders(unsent)} {'was' if unsent == 1 else 'were'} not sent"
    return f"{note}." if result.delays or not answered else f"{note}. The figures are of the time before."


def _orders(count: int) -> str:
    return "1 order" if count == 1 else f"{count:,} orders"
