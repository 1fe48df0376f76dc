"""The examples of `handlers/README.md` for the programs that operate a server: Prometheus and Kubernetes."""

from pathlib import Path

from tests.prometheus import ALERTS, promtool
from tests.readme import HANDLERS, example


def test_prometheus_accepts_the_configuration_of_the_page(tmp_path: Path) -> None:
    text = example("rule_files:", HANDLERS).text
    (tmp_path / "orders-key").write_text("orderskey_1")
    for path, here in (("/opt/orders/handlers/metrics/alerts.yml", ALERTS), ("/etc/prometheus", tmp_path)):
        assert path in text
        text = text.replace(path, str(here))
    file = tmp_path / "prometheus.yml"
    file.write_text(text)
    promtool("check", "config", str(file))
