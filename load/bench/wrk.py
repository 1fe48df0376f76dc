"""Runs wrk, a load generator in C, as the client of a measurement. Runs on the event loop; wrk is a process.

wrk needs less CPU time than our load generator, and so leaves more for the server on this machine. If wrk is not
installed, our load generator takes its place.
"""

import asyncio
import json
import resource
import subprocess
from asyncio.subprocess import PIPE
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from math import ceil
from pathlib import Path
from shutil import which
from string import Template
from tempfile import TemporaryDirectory

import msgspec

from load.bench import workloads
from load.bench.measurement import CLIENTS, TIMEOUTS, Measurement
from load.bench.trial import Server, Trial
from load.bench.workloads import BODY, STRIDE, USERS
from load.cli.errors import CommandError
from load.http.address import Address

WRK = "wrk"
PATH = "/order"
RANDOM_GETS = 100_000
FOLDER = Path(__file__).parent


class Report(msgspec.Struct):
    """The line that report.lua prints. statuses.lua fills `statuses`. `refused` counts statuses from 400 on."""

    answers: int
    elapsed_us: int
    statuses: dict[int, int]
    refused: int
    errors: dict[str, int]


def wrk_version() -> str:
    """Return the version of the wrk on the PATH. Called outside the event loop."""
    # wrk prints its version and exits with status 1.
    done = subprocess.run([WRK, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.partition("Copyright")[0].removeprefix(WRK).strip()


async def post_orders(trial: Trial, server: Server, *, clients: int = CLIENTS) -> Measurement:
    """Send the requests of `workloads.post_orders` with wrk. Orders that the server already had count as right."""
    if not which(WRK):
        return await workloads.post_orders(trial, server, clients=clients)
    script = posting(server.address, first_id=next(server.ids))
    measured = await measure_wrk(server.address, script, clients=clients, seconds=trial.seconds)
    # Skip the ids of all orders that were sent, even without a response.
    sent = measured.right + measured.wrong.total() + 2 * clients
    deque(islice(server.ids, sent), maxlen=0)
    return measured


async def get_orders(trial: Trial, server: Server) -> Measurement:
    """Send GET /order/{id} of stored orders, chosen at random before the first request."""
    if not which(WRK):
        return await workloads.get_orders(trial, server)
    before, after = server.address.get("/order/#").decode().split("#")
    numbers = {"seed": next(server.seeds), "stored": server.stored, "count": RANDOM_GETS}
    script = _script("gets.lua", before=json.dumps(before), after=json.dumps(after), **numbers)
    return await measure_wrk(server.address, script, clients=CLIENTS, seconds=trial.seconds)


def posting(address: Address, *, first_id: int, counts_statuses: bool = False) -> str:
    """Return a Lua script that sends the requests of `workloads.posts`, byte for byte, with ids from `first_id` on.

    With `counts_statuses`, every status except 202 counts as wrong; without it, every status from 400 on.
    """
    head = address.post(PATH, b"").decode().replace("%", "%%").replace("Content-Length: 0", "Content-Length: %d")
    # A JSON string of ASCII characters is a Lua string, too.
    texts = {"head": json.dumps(head), "body": json.dumps(BODY.decode())}
    script = _script("posts.lua", **texts, first_id=first_id, stride=STRIDE, users=USERS)
    return script + _script("statuses.lua") * counts_statuses


def _script(name: str, **values: str | int) -> str:
    return Template((FOLDER / name).read_text()).substitute(values)


async def measure_wrk(address: Address, script: str, *, clients: int, seconds: float) -> Measurement:
    """Run wrk on one thread with a Lua script and `clients` connections. Rounds `seconds` up.

    Socket errors and the statuses that the script counts are wrong. `cpu_share` counts the CPU time of all child
    processes that end during the run: usually, only wrk.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with TemporaryDirectory(prefix="load-wrk-") as folder:
        file = Path(folder) / "orders.lua"
        file.write_text(script + _script("report.lua"))
        arguments = ["--threads", "1", "--connections", str(clients), "--duration", f"{ceil(seconds)}s"]
        arguments += ["--timeout", f"{ceil(TIMEOUTS.answer_s)}s", "--script", str(file), f"{address.url}{PATH}"]
        report = await _run_wrk(arguments)
    after, elapsed_s = resource.getrusage(resource.RUSAGE_CHILDREN), report.elapsed_us / 1e6
    wrong = Counter({f"wrk: status {each}": times for each, times in report.statuses.items()})
    if report.refused and not report.statuses:
        wrong["wrk: a status of 400 or above"] = report.refused
    right = report.answers - wrong.total()
    wrong.update({f"wrk: {kind} error of a socket": times for kind, times in report.errors.items() if times})
    return Measurement(
        right=right,
        wrong=wrong,
        elapsed_s=elapsed_s,
        cpu_share=(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / elapsed_s,
    )


async def _run_wrk(arguments: Sequence[str]) -> Report:
    """Run wrk, and decode its last line. Raises CommandError if this line is not a report."""
    # wrk has its own session, so that Ctrl-C reaches only this process, which then kills wrk.
    process = await asyncio.create_subprocess_exec(WRK, *arguments, stdout=PIPE, stderr=PIPE, start_new_session=True)
    try:
        out, errors = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    last = (out.splitlines() or [b""])[-1]
    try:
        return msgspec.json.decode(last, type=Report)
    except msgspec.DecodeError:
        text = (errors.splitlines() or [last])[-1].decode(errors="replace")
        raise CommandError(f"{WRK} ended with status {process.returncode}: {text}") from None
