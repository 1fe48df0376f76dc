"""Trials that compare two servers, or two loads of our server. Runs on the event loop."""

from contextlib import closing

from load.bench import workloads, wrk
from load.bench.measurement import CLIENTS
from load.bench.trial import P99, RATE, ROUND_TIME, Row, Trial, Value

EMPTY_WITHIN_S = 1.0


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
    row = Row(name=f"{workloads.CROWD}: time against bare Tornado", at_most=0.8, aim=0.5)
    return await trial.compare(workloads.post_at_once, (row, ROUND_TIME), value=Value.TIME)


async def steady(trial: Trial) -> list[Row]:
    # A latency counts from when a request is due, so it includes the client's own delay.
    row = Row(name=workloads.STEADY, unit=" ms", at_most=10.0, aim=5.0)
    return await trial.compare(workloads.post_at_rate, (row, P99), value=Value.SECOND)


async def bulk(trial: Trial) -> list[Row]:
    """Compare POST /orders with POST /order on our server. Each measurement begins when all orders are processed."""
    row = Row(name="POST /orders, 1,000 a request, 4 clients: orders/s against one by one, 64 clients")
    for number in range(1, trial.runs + 1):
        single = await workloads.settled(workloads.post_encoded_orders)(trial, trial.ours)
        arrays = await workloads.settled(workloads.post_arrays)(trial, trial.ours)
        trial.check(row, single, arrays)
        trial.add_run(row, number, RATE, {"one_by_one": single, "bulk": arrays}, value=Value.SPEED)
    return [row]


async def generator(trial: Trial) -> list[Row]:
    """Compare our load generator with wrk, and its rate to the receiver of webhooks with its rate to bare Tornado.

    Bare Tornado is slower than both clients, and the receiver is faster than any client. A run is valid even if a
    client uses a whole core, because the trial measures the clients.
    """
    at_bare = Row(name="load generator's rate to bare Tornado, 64 clients, against wrk's", at_least=0.50)
    name = "load generator's rate to a fixed-response server, against its rate to bare Tornado"
    sending = Row(name=name, at_least=2.00)
    script = wrk.posting(trial.other.address, first_id=1, counts_statuses=True)
    for number in range(1, trial.runs + 1):
        by_wrk = await wrk.measure_wrk(trial.other.address, script, clients=CLIENTS, seconds=trial.seconds)
        bare = await workloads.post_orders(trial, trial.other)
        fixed = await workloads.post_orders(trial, trial.ours)
        at_bare.wrong.update(by_wrk.wrong + bare.wrong)
        sending.wrong.update(bare.wrong + fixed.wrong)
        trial.add_run(at_bare, number, RATE, {"wrk": by_wrk, "ours": bare}, value=Value.SPEED)
        trial.add_run(sending, number, RATE, {"to_bare": bare, "to_fixed": fixed}, value=Value.SPEED)
    return [at_bare, sending]
