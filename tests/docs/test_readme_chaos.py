"""Tests that the outputs of `load.chaos` in load/README.md have the faults of their seeds, and all tables of a run."""

import re
from collections import Counter
from typing import NamedTuple

import pytest

from load.chaos.command import FAULTS
from load.chaos.faults import NODES, SQLITE, TARGETS, Fault, FaultKind, FaultMix
from load.chaos.plan import plan_faults
from load.chaos.report import Findings, Outcome, format_outcome
from load.results.outages import Outage
from tests.readme import LOAD, Example, example

FAULT = re.compile(r"^ *[\d.]+ s  (\w+) +([a-z-]+) +(?:node (\d), )?", re.MULTILINE)
NUMBER = re.compile(r"\d[\d,.]*")


class Shown(NamedTuple):
    """A run whose output the page shows."""

    example: Example
    mix: FaultMix
    nodes: int

    @property
    def seed(self) -> int:
        return int(self.example.text.rpartition(" --seed ")[2])

    @property
    def plan(self) -> list[Fault]:
        return plan_faults(self.seed, FAULTS, self.mix, nodes=self.nodes)


RUNS = {
    "one server": Shown(example("python -m load.chaos --seed", LOAD), SQLITE, 1),
    "three servers": Shown(example("python -m load.chaos --nodes 3 --postgresql --seed", LOAD), NODES, 3),
}
EACH_RUN = pytest.mark.parametrize("shown", RUNS.values(), ids=RUNS)


@EACH_RUN
def test_the_page_shows_the_faults_of_its_seed(shown: Shown) -> None:
    answer = shown.example.answer
    assert answer.startswith(f"seed {shown.seed}: {FAULTS} faults, ")
    made = {kind: int(count) for kind, count in re.findall(r"^([a-z-]+) +(\d+) of \2 ", answer, re.MULTILINE)}
    assert made == Counter(fault.kind.value for fault in shown.plan)
    named = {each for each in FAULT.findall(answer) if each[1] in made}
    assert len(named) > 3
    planned = {(fault.target, fault.kind.value, str(fault.node + 1)) for fault in shown.plan}
    assert named <= planned | {(target, kind, "") for target, kind, _ in planned}


@EACH_RUN
def test_the_page_shows_the_tables_of_a_run(shown: Shown) -> None:
    answer = shown.example.answer
    findings = [Findings(target=target, acknowledged=1, is_inspected=True) for target in TARGETS]
    if FaultKind.FAILOVER in shown.mix.kinds:
        findings[0].outages.append(Outage(from_kill_s=1, from_promotion_s=1, longest_gap_s=1))
    printed = "\n".join(format_outcome(Outcome(findings=findings, mix=shown.mix), shown.plan))
    assert words_of(printed) == words_of(answer[answer.index("\n\nfault ") :])


def words_of(text: str) -> list[str]:
    """The lines that are not blank, without numbers and repeated spaces."""
    return [" ".join(NUMBER.sub("", line).split()) for line in text.splitlines() if line.strip()]
