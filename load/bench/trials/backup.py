"""Measures our server while `server.py --backup` copies its file. Runs on the event loop."""

import asyncio
import sys
from collections.abc import Iterable
from itertools import count

from load.bench.measurement import Measurement
from load.bench.trial import P99, Row, Trial, Value
from load.bench.trials.background import MAX_LATE_MS
from load.bench.workloads import STEADY, post_at_rate
from load.readback.metrics import read_metrics
from load.system.server_process import ROOT

ROUNDS_BEFORE = 3
"""How often the p99 without a backup is measured before the backup. That is about half as often as during a backup of
10,000,000 orders."""


async def backup(trial: Trial) -> list[Row]:
    """Compare the p99 of POST /order during a whole backup, which includes its check, with the p99 without a backup.

    In each run, the p99 without a backup is measured before and after the backup, for as long as the p99 during the
    backup. Otherwise, the longer measurement would have more of the pauses that the machine makes now and then.
    """
    stored = (await read_metrics(trial.ours.address)).orders
    server = trial.ours._replace(ids=count(stored + 1))
    row = Row(name=f"{STEADY}, during a backup of {stored:,} orders, against none", at_most=1.2)
    for number in range(1, trial.runs + 1):
        before = [await post_at_rate(trial, server) for _ in range(ROUNDS_BEFORE)]
        during = list[Measurement]()
        target = trial.folder / "backup.db"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "server.py", "--database", trial.database, "--backup", str(target)),
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # so that Ctrl-C does not end it before this process ends it
        )
        try:
            output = asyncio.create_task(process.communicate())
            while not output.done():
                during.append(await post_at_rate(trial, server))
            printed, _ = await output
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
        target.unlink(missing_ok=True)
        after = [await post_at_rate(trial, server) for _ in range(max(1, len(during) - ROUNDS_BEFORE))]
        total = {"alone": _total([*before, *after]), "during": _total(during)}
        if process.returncode != 0:
            row.wrong[f"a backup that failed: {printed.decode().strip()}"] += 1
        trial.check(row, *total.values())
        if total["alone"].late_p99_ms > MAX_LATE_MS:
            # Both latencies include the client's own delay, so a long delay makes their ratio meaningless.
            row.invalid[f"the client itself was more than {MAX_LATE_MS:g} ms late with 1 % of its requests"] += 1
        trial.add_run(row, number, P99, total, value=Value.TIME)
        for name, rounds in (("before", before), ("during", during), ("after", after)):
            trial.print_line(
                f"        {name}, p99 of each round in ms: {', '.join(f'{each.p99_ms:.2f}' for each in rounds)}"
            )
        trial.print_line(f"        {printed.decode().strip().removeprefix(f'{target}: ')}")
    return [row]


def _total(rounds: Iterable[Measurement]) -> Measurement:
    total = Measurement()
    for each in rounds:
        total.add(each)
    return total
