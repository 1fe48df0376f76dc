"""Owns a run of wrk, the load generator that ours is held against: its script and what it says of a server.

wrk is a process of its own, which is waited for on the event loop's thread.
"""

import asyncio
import json
import resource
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import msgspec

from load.bench.pace import TIMEOUTS, Pace
from load.bench.requests import BODY, STRIDE, USERS
from load.http.address import Address

WRK = "wrk"
PATH = "/order"
# wrk runs `request` and `response` on its thread, `done` in a Lua of its own, which sees the thread's globals by name.
SCRIPT = """\
local head, body, expected = %(head)s, %(body)s, %(status)d
local order_id, statuses = 0, {}
statuses_as_json = "{}"

function request()
  order_id = order_id + 1
  local order = string.format(body, order_id, order_id * %(stride)d %% %(users)d + 1)
  return string.format(head, #order) .. order
end

function response(status)
  if status == expected then return end
  statuses[status] = (statuses[status] or 0) + 1
  local parts = {}
  for each, times in pairs(statuses) do parts[#parts + 1] = string.format('"%%d": %%d', each, times) end
  statuses_as_json = "{" .. table.concat(parts, ", ") .. "}"
end

local thread
function setup(the_only_one) thread = the_only_one end

function done(summary)
  local errors = summary.errors
  io.write(string.format(
    '\\n{"answers": %%d, "elapsed_us": %%d, "statuses": %%s, "errors": '
      .. '{"connect": %%d, "read": %%d, "write": %%d, "timeout": %%d}}\\n',
    summary.requests, summary.duration, thread:get("statuses_as_json"),
    errors.connect, errors.read, errors.write, errors.timeout))
end
"""


class WrkFailed(Exception):
    """wrk did not run to its end; the text has its last words."""


class Report(msgspec.Struct):
    """What the script writes as wrk's last line: wrong statuses and socket errors by how often they came."""

    answers: int
    elapsed_us: int
    statuses: dict[int, int]
    errors: dict[str, int]


def wrk_version() -> str:
    """Give the version of the wrk on the PATH; on the main thread, outside the loop."""
    # It exits with status 1 even so.
    done = subprocess.run([WRK, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.partition("Copyright")[0].removeprefix(WRK).strip()


def children_cpu_ns() -> int:
    """Give the CPU time of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((usage.ru_utime + usage.ru_stime) * 1e9)


async def measure_wrk(
    address: Address, *, clients: int, seconds: float, status: int, children_cpu_clock_ns: Callable[[], int]
) -> Pace:
    """Have one thread of wrk post orders over `clients` connections, with growing ids, for some whole seconds.

    The requests are those of `load.bench.requests.posts`, byte for byte. Answers with another status, and socket
    errors, are wrong. The CPU time is that of wrk's process, where no other child ends meanwhile.
    """
    with _script(address, status) as path:
        arguments = ["--threads", "1", "--connections", str(clients), "--duration", f"{ceil(seconds)}s"]
        arguments += ["--timeout", f"{ceil(TIMEOUTS.answer_s)}s", "--script", str(path), f"{address.url}{PATH}"]
        cpu_begun_ns = children_cpu_clock_ns()
        report = await _run(arguments)
        cpu_ns = children_cpu_clock_ns() - cpu_begun_ns
    wrong = Counter({f"wrk: status {each}": times for each, times in report.statuses.items()})
    wrong.update({f"wrk: {kind} error of a socket": times for kind, times in report.errors.items() if times})
    return Pace(
        right=report.answers - sum(report.statuses.values()),
        wrong=wrong,
        elapsed_s=report.elapsed_us / 1e6,
        cpu_share=cpu_ns / 1e3 / report.elapsed_us,
    )


@contextmanager
def _script(address: Address, status: int) -> Iterator[Path]:
    """Give the script as a file; the request's head is ours, but for the length of the body."""
    head = address.post(PATH, b"").decode().replace("%", "%%").replace("Content-Length: 0", "Content-Length: %d")
    # A JSON string of ASCII is one of Lua's, too.
    texts = {"head": json.dumps(head), "body": json.dumps(BODY.decode())}
    with TemporaryDirectory(prefix="load-wrk-") as folder:
        path = Path(folder) / "orders.lua"
        path.write_text(SCRIPT % {**texts, "status": status, "stride": STRIDE, "users": USERS})
        yield path


async def _run(arguments: list[str]) -> Report:
    pipe = asyncio.subprocess.PIPE
    # In a session of its own: Ctrl-C ends the measurement, which ends this one.
    process = await asyncio.create_subprocess_exec(
        WRK, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True
    )
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    last = (out.splitlines() or [b""])[-1]
    try:
        return msgspec.json.decode(last, type=Report)
    except msgspec.DecodeError:
        words = (err.splitlines() or [last])[-1].decode(errors="replace")
        raise WrkFailed(f"{WRK} ended with status {cast(int, process.returncode)}: {words}") from None
