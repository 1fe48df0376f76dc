"""Owns what is to be known beside a run's figures: why orders were refused, and what limits the figures; pure."""

from load.result import Result
from load.settings import Settings

MANY_WAITED = 0.01


def notes_of(result: Result, settings: Settings) -> list[str]:
    """Give a sentence for each, as the terminal, --json and the report say it."""
    refusals = [
        f"Status {status}, order {refusal.order_id} for instance: {refusal.reason}"
        for status, refusal in sorted(result.tally.examples.items())
    ]
    return [*refusals, *_limits_of_the_figures(result, settings)]


def _limits_of_the_figures(result: Result, settings: Settings) -> list[str]:
    lines = []
    if result.all_in_warm_up:
        lines.append(
            f"Everything fell into the warm-up of {result.warm_up_s:g} s, so there are no figures: send for longer."
        )
    if result.was_busy:
        lines.append(
            f"The load generator was the limit: it used {result.cpu_share:.0%} of a core while it sent, "
            "so the server may take more than this."
        )
    elif result.was_late:
        lines.append(
            f"The load generator was the limit: it sent 1 % of the requests that had a free connection more than "
            f"{(result.late_p99_s or 0) * 1e3:,.0f} ms after they were due, so the server may be faster than this."
        )
    elif result.behind_s:
        lines.append(
            f"The server did not keep up: {result.orders_per_second or 0:,.0f} of {settings.rate:,} orders/s were "
            f"answered; the last one was sent {result.behind_s:,.1f} s after it was due."
        )
    elif result.departures and result.departures.waited > MANY_WAITED * result.departures.count:
        departures = result.departures
        lines.append(
            f"{departures.waited:,} of {departures.count:,} requests waited for a free connection, "
            f"up to {departures.longest_wait_ns / 1e9:,.3f} s: the server stalled, or --concurrency is too low."
        )
    return lines
