"""The figures of models/SCALING.md are those of load/bench/limits.txt, or are computed from them."""

import re

from tests.process import ROOT

PAGE = (ROOT / "models" / "SCALING.md").read_text()
RESULT = (ROOT / "load" / "bench" / "limits.txt").read_text()
SERVERS = ("one server", "two servers", "three servers")
FIGURES = (
    ("orders/s until all are Completed", "{:,.0f}"),
    ("CPU time of the servers for an order", "{:.0f} µs"),
    ("CPU time of PostgreSQL for an order", "{:.0f} µs"),
    ("bytes of WAL for an order", "{:.0f}"),
    ("bytes of tables and indexes for an order", "{:.0f}"),
    ("syncs of the WAL a second", "{:.0f}"),
    ("share of the machine's CPU time in use", "{:.0%}"),
)
SHARES = ("CPU", "Client ClientRead", "IO WALSync", "LWLock WALWrite", "has no transaction")
RATES = (10_000, 100_000, 1_000_000)
DAY_S = 86_400


def median(servers: str, name: str) -> float:
    found = re.search(rf"^info  median ([\d.]+)[^:]*: {servers}: {re.escape(name)}$", RESULT, re.MULTILINE)
    assert found, name
    return float(found[1])


def share(servers: str, wait: str) -> str:
    """The share of the time, such as `12 %`. A result without this wait means that it is below 1 %."""
    found = re.search(rf"^{servers}: of the time, a connection that writes (.*)$", RESULT, re.MULTILINE)
    assert found
    shares = dict(re.findall(r"([A-Za-z ]+?) (\d+)%", found[1].replace(", ", "")))
    return f"{shares[wait]} %" if wait in shares else "below 1 %"


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def rows_of(title: str) -> list[str]:
    """The rows of the tables under the heading."""
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")]


def test_the_measured_figures_are_those_of_the_result() -> None:
    expected = [
        row(name, *(text.format(median(each, name)).replace("%", " %") for each in SERVERS)) for name, text in FIGURES
    ]
    expected += [row(f"`{wait}`", *(share(each, wait) for each in SERVERS)) for wait in SHARES]
    found = rows_of("What an order takes")
    assert [each for each in expected if each not in found] == []


def test_the_computed_figures_follow_from_those_of_one_server() -> None:
    servers_us, postgresql_us, wal, tables = (median("one server", name) for name, _ in FIGURES[1:5])
    expected = [
        row(
            f"{rate:,}",
            f"{rate * servers_us / 1e6:.2g}",
            f"{rate * postgresql_us / 1e6:.2g}",
            f"{rate * wal / 1e6:,.0f} MB/s",
            f"{rate * tables * DAY_S / 1e9:,.0f} GB a day",
        )
        for rate in RATES
    ]
    assert [each for each in expected if each not in rows_of("What that means")] == []
