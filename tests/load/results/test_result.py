"""Tests conclusions from the measurements of a run, and the notes that state them."""

from io import StringIO

from rich.console import Console

from load.http.connections import SendDelays
from load.results.result import Result
from load.results.summary import print_summary
from load.settings import parse_settings
from tests.cases import cases
from tests.load.results.recordings import MS, S, recording_of


def _open_loop(
    *,
    late_ms: int = 0,
    late: int = 6,
    punctual: int = 94,
    waited_ms: tuple[int, ...] = (),
    cpu_share: float = 0.1,
    latency_ms: int = 5,
    stopped_s: float | None = None,
) -> Result:
    """Return a result. `late` and `punctual` requests had a free connection, requests in `waited_ms` had none."""
    delays = SendDelays()
    for number in range(late + punctual):
        sent_ns = number + (late_ms * MS if number < late else 0)
        delays.note(due_ns=number, sent_ns=sent_ns, had_connection=True)
    for wait_ms in waited_ms:
        delays.note(due_ns=S, sent_ns=S + wait_ms * MS, had_connection=False)
    recording = recording_of(*((number * 10, latency_ms) for number in range(1, 101)))
    result = Result(orders=1000, delays=delays, recording=recording, sending_s=1.0, cpu_share=cpu_share)
    result.stopped_s = stopped_s
    result.tally.accepted = 100
    return result


def _said(result: Result) -> str:
    text = StringIO()
    print_summary(result, parse_settings(["--rate", "200"]), Console(file=text, width=300))
    return text.getvalue()


@cases(
    ("result", "is_limit"),
    [
        (_open_loop(), False),
        (_open_loop(cpu_share=0.95), True),
        (_open_loop(late_ms=9), False),
        (_open_loop(late_ms=11), True),
        (_open_loop(late_ms=11, latency_ms=1000), False),
        (_open_loop(late_ms=101, latency_ms=1000), True),
        (_open_loop(late_ms=900, late=5, punctual=95), False),
        (_open_loop(late_ms=900, late=10, punctual=0), False),
        (_open_loop(late_ms=11, late=10, punctual=990), False),
        (_open_loop(late_ms=11, late=11, punctual=990), True),
        (_open_loop(late_ms=900, stopped_s=0.5), False),
        (_open_loop(cpu_share=0.95, stopped_s=0.5), False),
        (_open_loop(waited_ms=(900,)), False),
    ],
)
def test_the_generator_was_the_limit_when_it_was_busy_or_late(result: Result, is_limit: bool) -> None:
    assert result.generator_was_the_limit is is_limit
    assert ("The load generator was the limit: it " in _said(result)) is is_limit


def test_a_few_orders_do_not_show_that_the_generator_was_the_limit() -> None:
    result = _open_loop(cpu_share=1.0)
    result.tally.accepted = 99
    assert not result.generator_was_the_limit


def test_a_note_says_why_the_generator_was_the_limit() -> None:
    assert "it used 95% of a core while it sent" in _said(_open_loop(cpu_share=0.95))
    late = "it sent 6 of 100 requests that had a free connection more than 10 ms after they were due"
    assert late in _said(_open_loop(late_ms=12))


def test_a_server_that_is_behind_at_the_end_did_not_keep_up() -> None:
    said = _said(_open_loop(waited_ms=(1000, 4200)))
    expected = (
        "The server did not keep up: 100 of 200 orders/s were answered; the last one was sent 4.2 s after it was due."
    )
    assert expected in said


def test_a_server_that_caught_up_kept_up() -> None:
    assert "did not keep up" not in _said(_open_loop(waited_ms=(900, 500, 20)))


def test_no_note_blames_the_server_when_the_generator_was_the_limit() -> None:
    assert "did not keep up" not in _said(_open_loop(waited_ms=(4200,), cpu_share=0.95))


def test_a_server_that_stopped_answering_has_no_other_note() -> None:
    said = _said(_open_loop(waited_ms=(4200,), late_ms=900, stopped_s=2.04))
    assert "The server stopped answering 2.0 s after the start; 900 orders were not sent.\n" in said
    assert "did not keep up" not in said
    assert "the limit" not in said


def test_what_was_due_in_the_warm_up_is_not_counted() -> None:
    result = Result(
        orders=40, warm_up_s=1.0, recording=recording_of((900, 100), (1100, 200), (1500, 100), (2000, 300), orders=10)
    )
    result.sending_s = 2.0
    assert (sum(result.counted.orders), result.after_warm_up(2.0), result.orders_per_second) == (20, 1.0, 20.0)
    assert [result.latencies.percentile_ms(one) for one in (50, 100)] == [100, 300]
    assert "All requests were in the warm-up" not in _said(result)
