"""Owns the trial that compares the load generator with wrk, on servers that do nothing; on the loop's thread."""

from itertools import count

from load.bench.pace import Pace
from load.bench.requests import posts
from load.bench.row import Row
from load.bench.trial import CLIENTS, Trial, cost_and_faults
from load.bench.wrk import measure_wrk
from load.http.address import Address


async def generator(trial: Trial) -> list[Row]:
    """POST of orders in closed loops by ours and by wrk, to a bare Tornado and to a server that answers at once.

    A bare Tornado is the limit for both clients. What they could send themselves shows at the other server, and in
    the CPU time that a request costs each of them.
    """
    at_bare = Row(name="generator's capacity against bare Tornado, 64 clients, against wrk's", at_least=0.50)
    offering = Row(name="what the generator sends to a server of fixed answers, against what bare Tornado takes")
    offering.at_least = 2.00
    at_reflex = Row(name="generator's capacity against a server of fixed answers, 64 clients, against wrk's")
    for number in range(1, trial.runs + 1):
        bare_ours = await _compare(trial, at_bare, number, trial.other, "bare Tornado")
        reflex_ours = await _compare(trial, at_reflex, number, trial.ours, "fixed answers")
        offering.wrong.update(bare_ours.wrong + reflex_ours.wrong)
        offering.runs.append(
            {
                "bare_takes_per_second": bare_ours.per_second,
                "ours_sends_per_second": reflex_ours.per_second,
                "client_cpu_share": reflex_ours.cpu_share,
                "value": reflex_ours.per_second / bare_ours.per_second if bare_ours.right else 0.0,
            }
        )
    return [at_bare, offering, at_reflex]


async def _compare(trial: Trial, row: Row, number: int, side: Address, name: str) -> Pace:
    """Add a run of wrk and one of ours to a row, and give ours.

    A client without time left makes no run void here: it is the clients that are measured.
    """
    wrk = await measure_wrk(
        side,
        clients=CLIENTS,
        seconds=trial.seconds,
        status=202,
        children_cpu_clock_ns=trial.children_cpu_clock_ns,
    )
    ours = await trial.pace(side, posts(side, count(1)), status=202, seconds=trial.seconds)
    row.wrong.update(wrk.wrong + ours.wrong)
    ratio = ours.per_second / wrk.per_second if wrk.right else 0.0
    wrk_us, ours_us = _cpu_us_a_request(wrk), _cpu_us_a_request(ours)
    row.runs.append(
        {
            "wrk_per_second": wrk.per_second,
            "ours_per_second": ours.per_second,
            "wrk_cpu_us_a_request": wrk_us,
            "ours_cpu_us_a_request": ours_us,
            "value": ratio,
        }
    )
    trial.tell(
        f"run {number}: {name}: wrk {wrk.per_second:,.0f}/s, ours {ours.per_second:,.0f}/s, ratio {ratio:.2f};"
        f" CPU a request: wrk {wrk_us:.1f} µs, ours {ours_us:.1f} µs {cost_and_faults(wrk, ours)}"
    )
    return ours


def _cpu_us_a_request(pace: Pace) -> float:
    return pace.cpu_share * pace.elapsed_s * 1e6 / max(1, pace.right)
