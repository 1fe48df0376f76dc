"""Sentences that belong to a run's figures: why orders were refused, and what limited the figures. Pure functions."""

from collections.abc import Iterator

from load.cli.text import printable
from load.results.result import Result
from load.settings import Settings

MANY_WAITED = 0.01


def notes_of(result: Result, settings: Settings) -> list[str]:
    """Return the sentences, for the terminal, --json and the report."""
    return [*_order_notes(result, settings), *_limits(result, settings)]


def _order_notes(result: Result, settings: Settings) -> Iterator[str]:
    tally = result.tally
    if wrong := tally.wrong_202.total():
        note = f"A wrong 202 was the answer to {_orders(wrong)}, which fails the run: a 202 is a promise."
        if settings.bulk:
            note += " Which of them were promised is not known, so they are not read back."
        yield note
    for status, refusal in sorted(tally.examples.items()):
        yield f"Status {status}, order {refusal.order_id} for instance: {printable(refusal.reason)}"
    # The response to a duplicate costs the server less than one to a new order.
    if tally.duplicates and not settings.first_id and not settings.replay:
        were = "was" if tally.duplicates == 1 else "were"
        yield f"{_orders(tally.duplicates)} {were} there already: another run uses the same ids."


def _limits(result: Result, settings: Settings) -> Iterator[str]:
    if result.all_in_warm_up:
        yield f"Everything fell into the warm-up of {result.warm_up_s:g} s, so there are no figures: send for longer."
    delays = result.delays
    if result.stopped_s is not None:
        yield _stopped_note(result, result.stopped_s)
    elif result.was_busy:
        yield (
            f"The load generator was the limit: it used {result.cpu_share:.0%} of a core while it sent, "
            "so the server may take more than this."
        )
    elif result.was_late and delays:
        yield (
            f"The load generator was the limit: it sent {result.late_requests:,} of {len(delays.late_ns):,} requests "
            f"that had a free connection more than {result.late_limit_s * 1e3:,.0f} ms after they were due, so the "
            "server may be faster than this."
        )
    elif result.behind_s:
        yield (
            f"The server did not keep up: {result.orders_per_second or 0:,.0f} of {settings.rate or 0:,.10g} orders/s "
            f"were answered; the last one was sent {result.behind_s:,.1f} s after it was due."
        )
    elif delays and delays.waited > MANY_WAITED * delays.count:
        yield (
            f"{delays.waited:,} of {delays.count:,} requests waited for a free connection, "
            f"up to {delays.longest_wait_ns / 1e9:,.3f} s: the server stalled, or --concurrency is too low."
        )


def _stopped_note(result: Result, stopped_s: float) -> str:
    tally = result.tally
    answered = tally.sent > tally.errors.total()
    note = f"The server {f'stopped answering {stopped_s:,.1f} s after the start' if answered else 'did not answer'}"
    unsent = result.orders - tally.sent
    if unsent:
        note += f"; {_orders(unsent)} {'was' if unsent == 1 else 'were'} not sent"
    return f"{note}." if result.delays or not answered else f"{note}. The figures are of the time before."


def _orders(count: int) -> str:
    return "1 order" if count == 1 else f"{count:,} orders"
