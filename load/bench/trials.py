"""Runs trials that compare two servers, or two loads of our server. Runs on the event loop."""

from contextlib import closing
from itertools import count

from load.bench import workloads, wrk
from load.bench.measurement import CLIENTS, Measurement
from load.bench.slow_clients import slow_clients
from load.bench.trial import P99, RATE, ROUND_TIME, Row, Server, Trial, Value

CROWD = "1,000 clients connecting at once, one order each, until all have their 202"
STEADY = "p99 of POST /order at 500 orders/s, open loop"
EMPTY_WITHIN_S = 1.0
SLOW_COUNT = 500
SLOW_FOR_S = 10.0  # The server must allow a client at least this time for the headers of a request.
MAX_LATE_MS = 2.0  # Timers are accurate to a millisecond.


async def change(trial: Trial) -> list[Row]:
    row = Row(name=f"durable POST /order, 64 clients, against {trial.other.name}", at_least=0.95)
    return await trial.compare(workloads.post_orders, (row, RATE), value=Value.SPEED)


async def intake(trial: Trial) -> list[Row]:
    """Measure how fast POST /order is accepted, how fast the orders are completed, and how long the backlog lasts."""
    accepting = Row(name="durable POST /order, 64 clients, against bare Tornado", at_least=3.0, aim=4.5)
    completing = Row(name="of those, completed by 1 s after the load's end", at_least=1.00)
    emptying = Row(name="until the backlog is empty after the load's end", unit=" s", at_most=EMPTY_WITHIN_S)
    with closing(trial.backlog(trial.ours.address)) as backlog:
        for number in range(1, trial.runs + 1):
            bare = await wrk.post_orders(trial, trial.other)
            before = await backlog.poll()
            ours = await wrk.post_orders(trial, trial.ours)
            ended_ns = trial.meter.clock_ns()
            at_end = await backlog.poll()
            if at_end.waiting:
                await trial.wait_until_processed(trial.ours.address)
            empty_s = (trial.meter.clock_ns() - ended_ns) / 1e9
            finally_done = await backlog.poll()
            in_time = finally_done if empty_s <= EMPTY_WITHIN_S else at_end
            if (left := ours.right - (finally_done.completed_orders - before.completed_orders)) > 0:
                completing.wrong["an accepted order that is not Completed though none is waiting"] += left
            trial.check(accepting, bare, ours)
            trial.add_run(accepting, number, RATE, {"bare": bare, "ours": ours}, value=Value.SPEED)
            completed = (at_end.completed_orders - before.completed_orders) / ours.elapsed_s
            rates = {"accepted_per_second": ours.per_second, "completed_per_second": completed}
            share = (in_time.completed_orders - before.completed_orders) / max(1, ours.right)
            completing.runs.append({**rates, "value": share})
            emptying.runs.append({"waiting_at_end": at_end.waiting, "value": empty_s})
            trial.print_line(
                f"        accepted {ours.per_second:,.0f}/s, completed {completed:,.0f}/s during the load;"
                f" {at_end.waiting} waiting at its end, backlog empty {empty_s:.3f} s after it"
            )
    return [accepting, completing, emptying]


async def guarded(trial: Trial) -> list[Row]:
    name = "durable POST /order, 64 clients, with --api-keys, --rate-limit and --access-log, against bare Tornado"
    row = Row(name=name, at_least=2.2, aim=3.5)
    return await trial.compare(wrk.post_orders, (row, RATE), value=Value.SPEED)


async def reading(trial: Trial) -> list[Row]:
    row = Row(name="GET /order/{id}, 64 clients, against bare Tornado", at_least=6.0, aim=9.0)
    trial = await workloads.store_orders(trial, row)
    return await trial.compare(wrk.get_orders, (row, RATE), value=Value.SPEED)


async def crowd(trial: Trial) -> list[Row]:
    row = Row(name=f"{CROWD}: time against bare Tornado", at_most=0.8, aim=0.5)
    return await trial.compare(workloads.post_at_once, (row, ROUND_TIME), value=Value.TIME)


async def steady(trial: Trial) -> list[Row]:
    # A latency counts from when a request is due, so it includes the client's own delay.
    row = Row(name=STEADY, unit=" ms", at_most=10.0, aim=5.0)
    return await trial.compare(workloads.post_at_rate, (row, P99), value=Value.SECOND)


async def among_slow_clients(trial: Trial) -> list[Row]:
    """Compare GET /order/{id} at a fixed rate with and without 500 clients that send one header line a second."""
    row = Row(name="p99 of GET /order/{id} at 500/s, open loop, with 500 slow clients, against none", at_most=1.5)
    trial = await workloads.store_orders(trial, row)
    for number in range(1, trial.runs + 1):
        # Both measurements read the same orders.
        alone = await workloads.get_at_rate(trial, trial.ours._replace(seeds=count(number)))
        async with slow_clients(trial.ours.address.url, count=SLOW_COUNT) as close:
            loaded = await workloads.get_at_rate(trial, trial.ours._replace(seeds=count(number)))
            disconnected = await close()
        trial.check(row, alone, loaded)
        if disconnected * SLOW_FOR_S > SLOW_COUNT * trial.seconds:
            row.invalid["the server closed the slow clients' connections too soon for them to be slow"] += 1
        if alone.late_p99_ms > MAX_LATE_MS:
            # Both latencies include the client's own delay, so a long delay makes their ratio meaningless.
            row.invalid[f"the client itself was more than {MAX_LATE_MS:g} ms late with 1 % of its requests"] += 1
        trial.add_run(row, number, P99, {"alone": alone, "among_slow": loaded}, value=Value.TIME)
        row.runs[-1]["slow_clients_cut_off"] = disconnected
    return [row]


async def generator(trial: Trial) -> list[Row]:
    """Compare our load generator with wrk: both post orders to bare Tornado, then to the receiver of webhooks.

    Bare Tornado is slower than both clients. So only the rate to the receiver and the CPU time per request show how
    fast the clients are. A run is valid even if a client uses a whole core, because the trial measures the clients.
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
    script = wrk.posting(server.address, first_id=1, counts_statuses=True)
    by_wrk = await wrk.measure_wrk(server.address, script, clients=CLIENTS, seconds=trial.seconds)
    ours = await workloads.post_orders(trial, server)
    row.wrong.update(by_wrk.wrong + ours.wrong)
    trial.add_run(row, number, RATE._replace(label=label), {"wrk": by_wrk, "ours": ours}, value=Value.SPEED)
    wrk_us, ours_us = by_wrk.cpu_us_a_request, ours.cpu_us_a_request
    row.runs[-1] |= {"wrk_cpu_us_a_request": wrk_us, "ours_cpu_us_a_request": ours_us}
    trial.print_line(f"        CPU a request: wrk {wrk_us:.1f} µs, ours {ours_us:.1f} µs")
    return ours
