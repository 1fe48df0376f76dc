"""Runs trials that measure our server while other clients are connected to it. Runs on the event loop."""

from collections import Counter
from itertools import count

from load.bench import workloads
from load.bench.background_clients import READERS, SLOW_CLIENTS, background_clients
from load.bench.trial import P99, RATE, Row, Trial, Value
from load.system.machine import BUSY_SHARE, ProcessStatus

READING_COUNT = 100
# Every order causes two events of over 100 bytes each: one when its processing begins, one when it is Completed.
MIN_BYTES_AN_ORDER = 200
SAME_BYTES_SHARE = 0.98  # All readers get the same events, but in different chunks, so their bytes differ slightly.
SLOW_COUNT = 500
SLOW_FOR_S = 10.0  # The server must allow a client at least this time for the headers of a request.
MAX_LATE_MS = 2.0  # Timers are accurate to a millisecond.


async def readers(trial: Trial) -> list[Row]:
    """Compare POST /order on two servers. 100 clients read the events of one server; the other has no such clients."""
    row = Row(name="durable POST /order, 64 clients, with 100 readers of all events, against none")
    post_orders = workloads.settled(workloads.post_orders)
    for number in range(1, trial.runs + 1):
        without = await post_orders(trial, trial.other)
        log = trial.folder / f"readers-{number}.log"
        # Starting the clients blocks this event loop, on which nothing else runs.
        with background_clients(READERS, trial.ours.address.url, count=READING_COUNT, log=log) as clients:
            begun_s = ProcessStatus.read(clients.pid).cpu_s
            loaded = await post_orders(trial, trial.ours)
            share = (ProcessStatus.read(clients.pid).cpu_s - begun_s) / (loaded.elapsed_s + loaded.empty_after_s)
        ended, least, most = map(int, log.read_text().split()[-3:])
        trial.check(row, without, loaded)
        trial.add_run(row, number, RATE, {trial.other.name: without, "ours": loaded}, value=Value.SPEED)
        row.runs[-1] |= {"readers_cpu_share": share, "least_bytes": least, "most_bytes": most}
        row.wrong += Counter({"an event stream that ended": ended})
        if least < max(MIN_BYTES_AN_ORDER * loaded.right, SAME_BYTES_SHARE * most):
            row.wrong["a run in which a reader did not get the events of all orders"] += 1
        if share > BUSY_SHARE:
            row.invalid["the readers used all of their CPU time, so the server may be faster"] += 1
        trial.print_line(
            f"        each reader got {least:,} to {most:,} bytes of {loaded.right:,} orders' events;"
            f" streams that ended: {ended} (readers' CPU {share:.0%})"
        )
    return [row]


async def among_slow_clients(trial: Trial) -> list[Row]:
    """Compare GET /order/{id} at a fixed rate with and without 500 clients that send one header line a second."""
    row = Row(name="p99 of GET /order/{id} at 500/s, open loop, with 500 slow clients, against none", at_most=1.5)
    trial = await workloads.store_orders(trial, row)
    for number in range(1, trial.runs + 1):
        # Both measurements read the same orders.
        alone = await workloads.get_at_rate(trial, trial.ours._replace(seeds=count(number)))
        log = trial.folder / f"slow-clients-{number}.log"
        # Starting the clients blocks this event loop, on which nothing else runs.
        with background_clients(SLOW_CLIENTS, trial.ours.address.url, count=SLOW_COUNT, log=log):
            loaded = await workloads.get_at_rate(trial, trial.ours._replace(seeds=count(number)))
        disconnected = int(log.read_text().split()[-1])
        trial.check(row, alone, loaded)
        if disconnected * SLOW_FOR_S > SLOW_COUNT * trial.seconds:
            row.invalid["the server closed the slow clients' connections too soon for them to be slow"] += 1
        if alone.late_p99_ms > MAX_LATE_MS:
            # Both latencies include the client's own delay, so a long delay makes their ratio meaningless.
            row.invalid[f"the client itself was more than {MAX_LATE_MS:g} ms late with 1 % of its requests"] += 1
        trial.add_run(row, number, P99, {"alone": alone, "among_slow": loaded}, value=Value.TIME)
        row.runs[-1]["slow_clients_cut_off"] = disconnected
    return [row]
