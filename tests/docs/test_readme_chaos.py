"""Tests that the output of `load.chaos` in load/README.md has the faults of its seed, and all tables of a run."""

import re
from collections import Counter

from load.chaos.command import FAULTS
from load.chaos.faults import TARGETS, plan_faults
from load.chaos.report import Findings, Outcome, format_outcome
from tests.readme import LOAD, example

PROOF = ".venv/bin/python -m load.chaos --seed "
FAULT = re.compile(r"^ *[\d.]+ s  (\w+) +([a-z-]+) +", re.MULTILINE)
NUMBER = re.compile(r"[\d,]+")


def test_the_page_shows_the_faults_of_its_seed() -> None:
    shown = example("python -m load.chaos --seed", LOAD)
    seed = int(shown.text.removeprefix(PROOF))
    plan = plan_faults(seed, FAULTS)
    assert shown.answer.startswith(f"seed {seed}: {FAULTS} faults, ")
    made = {kind: int(count) for kind, count in re.findall(r"^([a-z-]+) +(\d+) of \2 ", shown.answer, re.MULTILINE)}
    assert made == Counter(fault.kind.value for fault in plan)
    named = {(target, kind) for target, kind in FAULT.findall(shown.answer) if kind in made}
    assert len(named) > 3
    assert named <= {(fault.target, fault.kind.value) for fault in plan}


def test_the_page_shows_the_tables_of_a_run() -> None:
    answer = example("python -m load.chaos --seed", LOAD).answer
    outcome = Outcome(findings=[Findings(target=target, acknowledged=1, is_inspected=True) for target in TARGETS])
    printed = "\n".join(format_outcome(outcome, plan_faults(1, FAULTS)))
    assert words_of(printed) == words_of(answer[answer.index("\n\nfault ") :])


def words_of(text: str) -> list[str]:
    """The lines that are not blank, without numbers and repeated spaces."""
    return [" ".join(NUMBER.sub("", line).split()) for line in text.splitlines() if line.strip()]
