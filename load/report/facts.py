"""How the page's numbers were measured: the settings and the machine. Pure functions, any thread."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from load.report.numbers import exact

MACHINE = {"cpus": "Processors", "platform": "Platform", "python": "Python", "sqlite": "SQLite"}
"""Names that differ from those in the result; packages keep theirs."""


class Fact(NamedTuple):
    """A name, its value, and the flag that sets it, if there is one."""

    name: str
    value: str
    flag: str = ""


def settings_of(result: Mapping[str, Any]) -> Sequence[Fact]:
    """Return what the run was told to do, without settings that were not given."""
    settings = [
        ("Server", "--url", result["url"]),
        ("Replayed file", "--replay", result["replay"]),
        ("Orders", "--orders", result["orders"]),
        ("Connections, at most", "--concurrency", result["concurrency"]),
        ("Orders at once", "--batch", result["batch"]),
        ("Orders a request", "--bulk", result["bulk"]),
        ("Orders due a second", "--rate", result["rate_per_second"]),
        ("Duration, s", "--duration", result["duration_s"]),
        ("Warm-up, s", "--warm-up", result["warm_up_s"]),
    ]
    given = [Fact(name, _text(value), flag) for name, flag, value in settings if value not in (None, 0)]
    return [Fact("Kind of load", result["mode"]), Fact("Started", started(result)), *given]


def machine_of(result: Mapping[str, Any]) -> Sequence[Fact]:
    """Return what the load generator ran on."""
    return [Fact(MACHINE.get(name, name), _text(value)) for name, value in result["machine"].items()]


def started(result: Mapping[str, Any]) -> str:
    """Return when the run started, to the second."""
    return f"{datetime.fromisoformat(result['started']):%Y-%m-%d %H:%M:%S} UTC"


def _text(value: Any) -> str:
    return exact(value) if isinstance(value, int | float) else str(value)
