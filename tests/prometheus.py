"""The alerts and the dashboard of `handlers/metrics/`, and the programs of Prometheus, which the tests run on them."""

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.process import ROOT, need

ALERTS = ROOT / "handlers" / "metrics" / "alerts.yml"
DASHBOARD = ROOT / "handlers" / "metrics" / "grafana.json"
OF_PROMETHEUS = {"up", "ALERTS"}
"""Metrics that Prometheus itself makes."""
OF_SCRAPES = {"job", "instance"}
"""Labels that Prometheus adds to each metric."""
_KEYWORDS = {"and", "or", "unless", "by", "without", "offset", "bool", "on", "ignoring", "group_left", "group_right"}
_STRING = r'"(?:[^"\\]|\\.)*"'
_MATCHER = re.compile(rf"(\w+)\s*(=~|!~|!=|=)\s*({_STRING})")


class Selector(NamedTuple):
    """A metric in an expression, and the label matchers behind it: name, operator and value."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]


def rules() -> list[dict[str, Any]]:
    """The alerting rules."""
    [group] = yaml.safe_load(ALERTS.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def selectors(expression: str) -> Iterator[Selector]:
    """The metrics in a PromQL expression."""
    without_groupings = re.sub(r"\b(?:by|without|on|ignoring)\s*\([^)]*\)", " ", expression)
    text = re.sub(r"\[[^]]*\]", " ", without_groupings)
    pattern = rf"(?P<name>[a-zA-Z_:][\w:]*)\s*(?P<next>\(|\{{(?P<matchers>(?:{_STRING}|[^}}\"])*)\}})?|\d[\w.]*"
    for found in re.finditer(pattern, text):
        name = found["name"]
        if name and found["next"] != "(" and name not in _KEYWORDS:
            matchers = [
                (label, how, json.loads(value)) for label, how, value in _MATCHER.findall(found["matchers"] or "")
            ]
            yield Selector(name, tuple(matchers))


def promtool(*arguments: str) -> None:
    """Runs promtool, which must find no error."""
    need("promtool")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def check_expressions(folder: Path, expressions: Sequence[str]) -> None:
    """Checks with promtool that Prometheus can parse the expressions."""
    file = folder / "expressions.yml"
    recorded = [{"record": f"expression:{number}", "expr": each} for number, each in enumerate(expressions)]
    file.write_text(yaml.safe_dump({"groups": [{"name": "expressions", "rules": recorded}]}))
    promtool("check", "rules", str(file))
