"""The examples of `handlers/README.md` for the programs that operate a server: Prometheus and Kubernetes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from models.database.address import PostgresqlUrl
from server import Settings, parse_settings
from tests.process import ServerProcess
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


def kubernetes_objects() -> dict[str, Any]:
    """The objects of the example for one pod, by kind."""
    return {each["kind"]: each for each in yaml.safe_load_all(example("kind: Deployment", HANDLERS).text)}


def settings_of(container: dict[str, Any]) -> Settings:
    assert container["command"] == ["python", "server.py"]
    return parse_settings(container["args"], {})


def test_the_parts_of_the_kubernetes_example_fit_together() -> None:
    objects = kubernetes_objects()
    deployment, service = objects["Deployment"]["spec"], objects["Service"]["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    template = deployment["template"]
    assert deployment["selector"]["matchLabels"] == service["selector"] == template["metadata"]["labels"]
    [container] = template["spec"]["containers"]
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == objects["PersistentVolumeClaim"]["metadata"]["name"]
    assert [mount["name"] for mount in container["volumeMounts"]] == list(volumes)
    [port], [target] = container["ports"], service["ports"]
    assert target["targetPort"] == port["name"]
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        assert container[probe]["httpGet"]["port"] == port["name"]
    settings = settings_of(container)
    assert (settings.http.host, settings.http.port) == ("0.0.0.0", port["containerPort"])  # noqa: S104
    folders = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert [str(Path(str(path)).parent) for path in (settings.database, settings.http.api_keys)] == folders
    assert settings.http.stop_delay > 2 * container["readinessProbe"]["periodSeconds"]
    stop_s = settings.http.stop_delay + settings.processing.drain_timeout
    assert template["spec"]["terminationGracePeriodSeconds"] > stop_s


@pytest.mark.slow
def test_the_probes_of_the_kubernetes_example_succeed_on_a_server_with_its_flags(tmp_path: Path) -> None:
    [container] = kubernetes_objects()["Deployment"]["spec"]["template"]["spec"]["containers"]
    (tmp_path / "keys.txt").write_text(f"checkout write {'0' * 64}\n")
    other = ("--port", "--host", "--database", "--api-keys")
    flags = [flag for flag in container["args"] if not flag.startswith(other)]
    with ServerProcess(tmp_path / "orders.db", *flags, "--api-keys", str(tmp_path / "keys.txt")) as server:
        for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
            assert server.get(container[probe]["httpGet"]["path"]).status == 200


def test_the_patch_for_several_pods_sets_the_database() -> None:
    objects = kubernetes_objects()
    [container] = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    patch = yaml.safe_load(example("replicas: 3", HANDLERS).text)["spec"]
    [patched] = patch["template"]["spec"]["containers"]
    assert patched["name"] == container["name"]
    [variable] = patched["env"]
    flags = [flag for flag in container["args"] if not flag.startswith("--database")]
    settings = parse_settings(flags, {variable["name"]: "postgresql://shop:secret@db.example/orders"})
    assert isinstance(settings.database, PostgresqlUrl)
