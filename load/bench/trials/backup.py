"""Measures our server while `server.py --backup` copies its file. Runs on the event loop."""

import asyncio
import sys
from itertools import count

from load.bench.measurement import Measurement
from load.bench.trial import P99, Row, Trial, Value
from load.bench.trials.background import MAX_LATE_MS
from load.bench.workloads import STEADY, post_at_rate
from load.readback.metrics import read_metrics
from load.system.server_process import ROOT


async def backup(trial: Trial) -> list[Row]:
    """Compare the p99 of POST /order during a whole backup, which includes its check, with the p99 without a backup.

    In each run, the p99 without a backup is measured before and after the backup.
    """
    stored = (await read_metrics(trial.ours.address)).orders
    server = trial.ours._replace(ids=count(stored + 1))
    row = Row(name=f"{STEADY}, during a backup of {stored:,} orders, against none", at_most=1.2)
    for number in range(1, trial.runs + 1):
        alone, during = Measurement(), Measurement()
        alone.add(await post_at_rate(trial, server))
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
                during.add(await post_at_rate(trial, server))
            printed, _ = await output
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
        target.unlink(missing_ok=True)
        alone.add(await post_at_rate(trial, server))
        if process.returncode != 0:
            row.wrong[f"a backup that failed: {printed.decode().strip()}"] += 1
        trial.check(row, alone, during)
        if alone.late_p99_ms > MAX_LATE_MS:
            # Both latencies include the client's own delay, so a long delay makes their ratio meaningless.
            row.invalid[f"the client itself was more than {MAX_LATE_MS:g} ms late with 1 % of its requests"] += 1
        trial.add_run(row, number, P99, {"alone": alone, "during": during}, value=Value.TIME)
        trial.print_line(f"        {printed.decode().strip().removeprefix(f'{target}: ')}")
    return [row]
