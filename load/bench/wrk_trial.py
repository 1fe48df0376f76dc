"""Compares our load generator with wrk. Runs on the event loop."""

from load.bench import workloads, wrk
from load.bench.measurement import CLIENTS, Measurement
from load.bench.trial import RATE, Row, Server, Trial, Value


async def generator(trial: Trial) -> list[Row]:
    """Compare our load generator with wrk: both post orders in closed loops to bare Tornado, then to `fixed`.

    Bare Tornado is slower than both clients. Only the server `fixed` and the CPU time per request show how fast the
    clients are. A run in which a client uses all of its CPU time is valid, because this trial measures the clients.
    """
    at_bare = Row(name="load generator's rate to bare Tornado, 64 clients, against wrk's", at_least=0.50)
    to_fixed = "load generator's rate to a fixed-response server"
    sending = Row(name=f"{to_fixed}, against its rate to bare Tornado", at_least=2.00)
    at_fixed = Row(name=f"{to_fixed}, 64 clients, against wrk's")
    for number in range(1, trial.runs + 1):
        bare = await _compare_clients(trial, at_bare, number, trial.other, label="to bare Tornado: ")
        fixed = await _compare_clients(trial, at_fixed, number, trial.ours, label="to the fixed-response server: ")
        sending.wrong.update(bare.wrong + fixed.wrong)
        trial.add_run(sending, number, RATE, {"to_bare": bare, "to_fixed": fixed}, value=Value.SPEED)
    return [at_bare, sending, at_fixed]


async def _compare_clients(trial: Trial, row: Row, number: int, server: Server, *, label: str) -> Measurement:
    """Measure wrk and our load generator, add the run to the row, and return the measurement of our load generator."""
    script = wrk.posting(server.address, first_id=1) + wrk.ONLY_202
    by_wrk = await wrk.measure_wrk(server.address, script, clients=CLIENTS, seconds=trial.seconds)
    ours = await workloads.post_orders(trial, server)
    row.wrong.update(by_wrk.wrong + ours.wrong)
    trial.add_run(row, number, RATE._replace(label=label), {"wrk": by_wrk, "ours": ours}, value=Value.SPEED)
    wrk_us, ours_us = by_wrk.cpu_us_a_request, ours.cpu_us_a_request
    row.runs[-1] |= {"wrk_cpu_us_a_request": wrk_us, "ours_cpu_us_a_request": ours_us}
    trial.print_line(f"        CPU a request: wrk {wrk_us:.1f} µs, ours {ours_us:.1f} µs")
    return ours
