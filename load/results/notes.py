"""Owns what is to be known beside a run's figures: why orders were refused, and what limits the figures; pure."""

from load.results.result import Result
from load.results.texts import shown
from load.settings import Settings

MANY_WAITED = 0.01


def notes_of(result: Result, settings: Settings) -> list[str]:
    """Give a sentence for each, as the terminal, --json and the report say it."""
    refusals = [
        f"Status {status}, order {refusal.order_id} for instance: {shown(refusal.reason)}"
        for status, refusal in sorted(result.tally.examples.items())
    ]
    repeated = _repeated_ids(result, settings)
    return [*_wrong_promises(result, settings), *refusals, *repeated, *_limits_of_the_figures(result, settings)]


def _repeated_ids(result: Result, settings: Settings) -> list[str]:
    """Say where ids made for this run alone were there already: the answers for those orders were cheap ones."""
    duplicates = result.tally.duplicates
    if not duplicates or settings.first_id or settings.replay:
        return []
    which = "1 order was" if duplicates == 1 else f"{duplicates:,} orders were"
    return [f"{which} there already: another run uses the same ids."]


def _wrong_promises(result: Result, settings: Settings) -> list[str]:
    wrong = result.tally.wrong_202.total()
    if not wrong:
        return []
    whose = "1 order" if wrong == 1 else f"{wrong:,} orders"
    rest = "Which of them were promised is not known, so they are not read back." if settings.bulk else ""
    return [f"A wrong 202 was the answer to {whose}, which fails the run: a 202 is a promise. {rest}".rstrip()]


def _limits_of_the_figures(result: Result, settings: Settings) -> list[str]:
    lines = []
    if result.all_in_warm_up:
        lines.append(
            f"Everything fell into the warm-up of {result.warm_up_s:g} s, so there are no figures: send for longer."
        )
    if result.stopped_s is not None:
        lines.append(_on_the_end(result, result.stopped_s))
    elif result.was_busy:
        lines.append(
            f"The load generator was the limit: it used {result.cpu_share:.0%} of a core while it sent, "
            "so the server may take more than this."
        )
    elif result.was_late and result.departures:
        lines.append(
            f"The load generator was the limit: it sent {result.late_requests:,} of {len(result.departures.late_ns):,} "
            f"requests that had a free connection more than {result.late_limit_s * 1e3:,.0f} ms after they were due, "
            "so the server may be faster than this."
        )
    elif result.behind_s:
        lines.append(
            f"The server did not keep up: {result.orders_per_second or 0:,.0f} of {settings.rate or 0:,.10g} orders/s "
            f"were answered; the last one was sent {result.behind_s:,.1f} s after it was due."
        )
    elif result.departures and result.departures.waited > MANY_WAITED * result.departures.count:
        departures = result.departures
        lines.append(
            f"{departures.waited:,} of {departures.count:,} requests waited for a free connection, "
            f"up to {departures.longest_wait_ns / 1e9:,.3f} s: the server stalled, or --concurrency is too low."
        )
    return lines


def _on_the_end(result: Result, stopped_s: float) -> str:
    tally = result.tally
    answered = tally.sent > tally.errors.total()
    said = (
        f"The server stopped answering {stopped_s:,.1f} s after the begin" if answered else "The server did not answer"
    )
    unsent = result.orders - tally.sent
    if unsent:
        said += "; 1 order was not sent" if unsent == 1 else f"; {unsent:,} orders were not sent"
    return f"{said}." if result.departures or not answered else f"{said}. The figures are of the time before."
