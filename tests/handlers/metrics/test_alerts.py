"""`handlers/metrics/alerts.yml` and `grafana.json`: their metrics exist, and each alert fires when it should."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families as parse_text

from models.database.health import StorageStatus, Work
from tests.handlers.conftest import StartApi
from tests.models.samples import SERVERS
from tests.prometheus import (
    ALERTS,
    OF_PROMETHEUS,
    OF_SCRAPES,
    Selector,
    check_expressions,
    dashboard,
    promtool,
    rules,
    selectors,
)
from tests.readme import HANDLERS

MINUTES = 120
"""How long the tests of promtool run, in simulated time."""
INSTANCE = "shop:8080"
ID = f'job="orders",instance="{INSTANCE}"'


class Case(NamedTuple):
    """Values of metrics, one a minute (https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/).

    With `fault`, the alert fires at the minute `fires_at`, and does not fire yet at the minute `silent_at`. With
    `quiet`, no alert fires.
    """

    fault: Mapping[str, str]
    silent_at: int
    fires_at: int
    quiet: Mapping[str, str]


def of(metric: str, **labels: str) -> str:
    """The series of the server."""
    pairs = [ID, *(f'{name}="{value}"' for name, value in labels.items())]
    return f"{metric}{{{','.join(pairs)}}}"


def responses(status: str) -> str:
    return of("orders_http_responses_total", status=status)


def attempts(outcome: str) -> str:
    return of("orders_attempts_total", outcome=outcome)


def acks(bound: str) -> str:
    return of("orders_ack_seconds_bucket", le=bound)


def lease(number: str, server: str = "shop-1:77") -> str:
    return of("orders_server_start_time_seconds", server=server, number=number)


PENDING, FAILED = of("orders_by_status", status="Pending"), of("orders_by_status", status="Failed")
WRITES, READS = of("orders_storage_up", work="writes"), of("orders_storage_up", work="reads")
FULL = of("orders_storage_errors_total", code="SQLITE_FULL")
FREE = of("orders_free_disk_bytes")
STARTED = of("process_start_time_seconds")

CASES = {
    "OrdersServerDown": Case({of("up"): "1+0x9 0+0x110"}, 10, 11, {of("up"): "1+0x9 0 1+0x110"}),
    "OrdersServerRestarts": Case({STARTED: "1 1 200 320 440 440+0x110"}, 3, 4, {STARTED: "1+0x20 2+0x20 3+0x80"}),
    "OrdersStorageDown": Case(
        {WRITES: "1+0x9 0+0x110", READS: "1+0x120"}, 10, 11, {WRITES: "1+0x9 0 1+0x110", READS: "1+0x120"}
    ),
    # The first error makes a new series.
    "OrdersStorageErrors": Case(
        {FULL: "_x21 1+0x100", of("up"): "1+0x120"}, 20, 21, {FULL: "7+0x120", of("up"): "1+0x120"}
    ),
    "OrdersDiskNearlyFull": Case({FREE: "3e9+0x9 1e9+0x110"}, 12, 15, {FREE: "3e9+0x120"}),
    "OrdersDiskFullSoon": Case({FREE: "19e9-10000000x120"}, 30, 70, {FREE: "19e9-1000000x120"}),
    "OrdersBacklogGrows": Case({PENDING: "900+100x120"}, 15, 20, {PENDING: "9000-10x120"}),
    "OrdersOldestPendingTooOld": Case(
        {of("orders_oldest_pending_seconds"): "60+60x120"}, 12, 16, {of("orders_oldest_pending_seconds"): "30+0x120"}
    ),
    "OrdersProcessingPaused": Case(
        {of("orders_processing_paused"): "0+0x9 1+0x110"},
        30,
        40,
        {of("orders_processing_paused"): "0+0x9 1+0x20 0+0x90"},
    ),
    "OrdersFailed": Case(
        {attempts("failed"): "5+0x20 6+0x100"}, 20, 21, {attempts("failed"): "5+0x120", FAILED: "5+0x120"}
    ),
    "OrdersAttemptsFail": Case(
        {attempts("completed"): "0+1x120", attempts("retried"): "0+3x120"},
        10,
        12,
        {attempts("completed"): "0+3x120", attempts("retried"): "0+1x120", attempts("given_back"): "0+9x120"},
    ),
    "OrdersWebhooksPaused": Case(
        {of("orders_deliveries_paused"): "0+0x9 1+0x110"},
        13,
        15,
        {of("orders_deliveries_paused"): "0+0x9 1+0x3 0+0x110"},
    ),
    "OrdersServerErrors": Case(
        {responses("202"): "0+90x120", responses("503"): "0+10x120"},
        5,
        7,
        {responses("202"): "0+980x120", responses("422"): "0+100x120", responses("503"): "0+10x120"},
    ),
    "OrdersSlowToAccept": Case(
        {acks("1.0"): "0+98x120", acks("2.5"): "0+100x120", acks("+Inf"): "0+100x120"},
        10,
        12,
        {acks("1.0"): "0+100x120", acks("2.5"): "0+100x120", acks("+Inf"): "0+100x120"},
    ),
    "OrdersLeaseLost": Case(
        {lease("3"): "1+0x20 _x100", lease("5"): "_x21 9+0x100"},
        20,
        21,
        # Two servers, one of which is started again: it has another process id.
        {lease("3"): "1+0x20 _x100", lease("4", "shop-2:8"): "1+0x120", lease("5", "shop-1:99"): "_x21 9+0x100"},
    ),
    "OrdersLogLinesDropped": Case(
        {of("orders_log_lines_dropped_total"): "0+0x20 4+0x100"},
        20,
        21,
        {of("orders_log_lines_dropped_total"): "4+0x120"},
    ),
}
ALSO = {
    # A crash during the last attempt of an order: no attempt is counted, but the order is Failed after the restart.
    "OrdersFailed": Case({FAILED: "5+0x20 6+0x100"}, 20, 21, {FAILED: "6+0x20 5+0x100"}),
    "OrdersDiskFullSoon": Case({FREE: "19e9-10000000x120"}, 30, 70, {FREE: "90e9-100000000x120"}),
    # The error occurs again.
    "OrdersStorageErrors": Case({FULL: "7+0x20 8+0x100"}, 20, 21, {FULL: "_x120"}),
}


def unit_tests(cases: Mapping[str, Case]) -> Iterator[dict[str, Any]]:
    """Two tests for promtool, with all faults and with everything else. Each case has a server of its own.

    The server of a case must have the alert of the case, if the case says so, and no other alert.
    """
    series: dict[str, str] = {}
    checks = []
    for name, case in cases.items():
        # The alert about leases has no instance.
        instance = "" if name == "OrdersLeaseLost" else name
        alerts = f'ALERTS{{alertstate="firing",instance="{instance}"}}'
        expected = [{"labels": f'{{alertname="{name}"}}', "value": 1}]
        for expression, minute, found in (
            (f"count_over_time({alerts}[{MINUTES}m])", case.silent_at, []),
            (alerts, case.fires_at, expected),
        ):
            count = f"count by (alertname) ({expression})"
            checks.append({"expr": count, "eval_time": f"{minute}m", "exp_samples": found})
        series |= {each.replace(INSTANCE, name): values for each, values in case.fault.items()}
    yield _unit_test(series, checks)
    quiet = {
        each.replace(INSTANCE, name): values for name, case in cases.items() for each, values in case.quiet.items()
    }
    fired = f'count by (alertname, instance) (count_over_time(ALERTS{{alertstate="firing"}}[{MINUTES + 1}m]))'
    yield _unit_test(quiet, [{"expr": fired, "eval_time": f"{MINUTES}m", "exp_samples": []}])


def _unit_test(series: Mapping[str, str], checks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found = [{"series": each, "values": values} for each, values in series.items()]
    return {"interval": "1m", "input_series": found, "promql_expr_test": checks}


def test_promtool_finds_no_error_in_the_alerts() -> None:
    promtool("check", "rules", str(ALERTS))


def test_each_alert_fires_when_its_fault_lasts_and_only_then(tmp_path: Path) -> None:
    assert list(CASES) == [rule["alert"] for rule in rules()]
    tests = [test for cases in (CASES, ALSO) for test in unit_tests(cases)]
    file = tmp_path / "alerts_test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", str(file))


def test_the_readme_lists_each_alert_with_its_severity() -> None:
    rows = re.findall(r"^\| `(Orders\w+)` \| (\w+) \|", HANDLERS.read_text(), re.MULTILINE)
    assert rows == [(rule["alert"], rule["labels"]["severity"]) for rule in rules()]


def test_each_alert_says_how_severe_it_is_what_has_happened_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description"}


def matches(selector: Selector, families: Iterable[Metric]) -> bool:
    """Whether the metrics have this metric. If it has samples, one of them must have a label that each matcher allows.

    Ignores matchers of the labels that Prometheus adds, and of variables of the dashboard.
    """
    for family in families:
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        if selector.metric not in [family.name + suffix for suffix in suffixes]:
            continue
        labels = [sample.labels for sample in family.samples if sample.name == selector.metric]
        return not labels or all(
            any(name in each and bool(re.fullmatch(value, each[name])) is (how in ("=", "=~")) for each in labels)
            for name, how, value in selector.matchers
            if name not in OF_SCRAPES
        )
    return False


def expressions_of_the_dashboard() -> list[str]:
    """All expressions, with values for the variables."""
    found = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    found += [
        re.sub(r"label_values\((.+), \w+\)", r"\1", variable["definition"])
        for variable in dashboard()["templating"]["list"]
        if variable["type"] == "query"
    ]
    return [each.replace("$__rate_interval", "5m") for each in found]


@pytest.mark.gen_test
async def test_every_metric_of_the_alerts_and_of_the_dashboard_exists(start_api: StartApi) -> None:
    async def storage_status() -> StorageStatus:
        return StorageStatus(dict.fromkeys(Work, True), {"SQLITE_FULL": 1}, 1, 1, 1, SERVERS)

    api = await start_api(storage_status=storage_status)
    api.telemetry.deliveries_read(is_paused=False, pauses={"busy": 0, "unreachable": 0})
    families = list(parse_text((await api.get("/metrics/prometheus")).body.decode()))
    expressions = [rule["expr"] for rule in rules()] + expressions_of_the_dashboard()
    used = {each for expression in expressions for each in selectors(expression)}
    assert {each for each in used if each.metric not in OF_PROMETHEUS and not matches(each, families)} == set()
    assert not matches(Selector("orders_by_status", (("status", "=", "Lost"),)), families)
    assert not matches(Selector("orders_attempts", ()), families)


def test_the_metrics_of_an_expression_are_found() -> None:
    text = """sum by (le, job) (rate(orders_a_bucket{le="1.0", job=~"a}b(c"}[5m])) / 2e9
        > on (job) orders_b offset 10m or vector(1) unless up == 0.05"""
    assert list(selectors(text)) == [
        Selector("orders_a_bucket", (("le", "=", "1.0"), ("job", "=~", "a}b(c"))),
        Selector("orders_b", ()),
        Selector("up", ()),
    ]


def test_prometheus_can_parse_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    check_expressions(tmp_path, expressions_of_the_dashboard())


def test_the_dashboard_can_be_imported() -> None:
    found = dashboard()
    assert found["uid"] == "orders"
    assert found["schemaVersion"] >= 36  # the first version in which a data source is an object
    assert "id" not in found  # Grafana gives the dashboard an id
    [source, *variables] = found["templating"]["list"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    for each in [*found["panels"], *variables, *(target for panel in found["panels"] for target in panel["targets"])]:
        assert each["datasource"] == {"type": "prometheus", "uid": f"${{{source['name']}}}"}
    names = {variable["name"] for variable in variables} | {"__rate_interval"}
    for panel in found["panels"]:
        for target in panel["targets"]:
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= names
            assert {"$job", "$instance"} <= set(re.findall(r"\$\w+", target["expr"]))


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    places = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(places) == len(set(places))
    assert {x for x, _ in places} == set(range(24))
