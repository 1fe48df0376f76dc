"""Runs wrk, another load generator, and compares ours with it. Runs on the event loop; wrk is another process."""

import json
import resource
import subprocess
from collections import Counter
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from load.bench.background_connections import child_process, read_report
from load.bench.measurement import CLIENTS, TIMEOUTS, Measurement
from load.bench.trial import RATE, Row, Server, Trial, Value
from load.bench.workloads import BODY, STRIDE, USERS, post_orders
from load.http.address import Address

WRK = "wrk"
PATH = "/order"
# wrk runs `request` and `response` on its thread, and `done` in another Lua state, which reads that thread's globals.
SCRIPT = """\
local head, body = %(head)s, %(body)s
local order_id, statuses = 0, {}
statuses_as_json = "{}"

function request()
  order_id = order_id + 1
  local order = string.format(body, order_id, order_id * %(stride)d %% %(users)d + 1)
  return string.format(head, #order) .. order
end

function response(status)
  if status == 202 then return end
  statuses[status] = (statuses[status] or 0) + 1
  local parts = {}
  for each, times in pairs(statuses) do parts[#parts + 1] = string.format('"%%d": %%d', each, times) end
  statuses_as_json = "{" .. table.concat(parts, ", ") .. "}"
end

local thread
function setup(only_thread) thread = only_thread end

function done(summary)
  local errors = summary.errors
  io.write(string.format(
    '\\n{"answers": %%d, "elapsed_us": %%d, "statuses": %%s, "errors": '
      .. '{"connect": %%d, "read": %%d, "write": %%d, "timeout": %%d}}\\n',
    summary.requests, summary.duration, thread:get("statuses_as_json"),
    errors.connect, errors.read, errors.write, errors.timeout))
end
"""


class Report(msgspec.Struct):
    """What the script writes as wrk's last line, with counts of wrong statuses and of socket errors."""

    answers: int
    elapsed_us: int
    statuses: dict[int, int]
    errors: dict[str, int]


def wrk_version() -> str:
    """Return the version of the wrk on the PATH. Called outside the event loop."""
    # Its exit status is 1 even if it succeeds.
    done = subprocess.run([WRK, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.partition("Copyright")[0].removeprefix(WRK).strip()


async def generator(trial: Trial) -> list[Row]:
    """POST of orders in closed loops by ours and by wrk, to a bare Tornado and to a server with a fixed response.

    A bare Tornado is slower than both clients, so the other server, and the CPU time per request, show what they can
    send. Runs in which a client uses all of its CPU time are valid here, since the clients are what is measured.
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
    """Add a run of wrk and one of ours to a row, and return ours."""
    wrk = await measure_wrk(server.address, clients=CLIENTS, seconds=trial.seconds)
    ours = await post_orders(trial, server)
    row.wrong.update(wrk.wrong + ours.wrong)
    trial.add_run(row, number, RATE._replace(label=label), {"wrk": wrk, "ours": ours}, value=Value.SPEED)
    wrk_us, ours_us = wrk.cpu_us_a_request, ours.cpu_us_a_request
    row.runs[-1] |= {"wrk_cpu_us_a_request": wrk_us, "ours_cpu_us_a_request": ours_us}
    trial.print_line(f"        CPU a request: wrk {wrk_us:.1f} µs, ours {ours_us:.1f} µs")
    return ours


async def measure_wrk(address: Address, *, clients: int, seconds: float) -> Measurement:
    """Run one thread of wrk that posts orders over `clients` connections, with growing ids, for some whole seconds.

    The requests are those of `workloads.posts`, byte for byte. Answers with another status than 202 and socket errors
    are wrong. The CPU time is that of wrk, provided that no other child process ends during the run.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with TemporaryDirectory(prefix="load-wrk-") as folder:
        script = Path(folder) / "orders.lua"
        script.write_text(_script(address))
        arguments = ["--threads", "1", "--connections", str(clients), "--duration", f"{ceil(seconds)}s"]
        arguments += ["--timeout", f"{ceil(TIMEOUTS.answer_s)}s", "--script", str(script), f"{address.url}{PATH}"]
        async with child_process(WRK, *arguments) as process:
            report = await read_report(process, Report, name=WRK)
    after, elapsed_s = resource.getrusage(resource.RUSAGE_CHILDREN), report.elapsed_us / 1e6
    wrong = Counter({f"wrk: status {each}": times for each, times in report.statuses.items()})
    wrong.update({f"wrk: {kind} error of a socket": times for kind, times in report.errors.items() if times})
    return Measurement(
        right=report.answers - sum(report.statuses.values()),
        wrong=wrong,
        elapsed_s=elapsed_s,
        cpu_share=(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / elapsed_s,
    )


def _script(address: Address) -> str:
    """Return the script; the request's head is ours, except for the length of the body."""
    head = address.post(PATH, b"").decode().replace("%", "%%").replace("Content-Length: 0", "Content-Length: %d")
    # A JSON string of ASCII characters is a Lua string, too.
    texts = {"head": json.dumps(head), "body": json.dumps(BODY.decode())}
    return SCRIPT % {**texts, "stride": STRIDE, "users": USERS}
