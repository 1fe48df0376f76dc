"""Values of `--processor` and of the webhook flags that the server rejects at its start."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from server import parse_settings
from tests.process import DEADLINE_S, ROOT, run_server
from tests.receiver import SECRET
from workers.processors.webhooks.secrets import SecretSource
from workers.processors.webhooks.settings import WebhookSettings

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("path", "text", "saying"),
    [
        ("nowhere:process", "", "No module named 'nowhere'"),
        ("shop:process", "raise RuntimeError('no flour\\nno sugar')", "RuntimeError: no flour no sugar"),
        ("shop:process", "def process(order): yield", "generator"),
    ],
)
def test_a_bad_function_is_a_one_line_error_and_no_file_is_created(
    tmp_path: Path, path: str, text: str, saying: str
) -> None:
    (tmp_path / "shop.py").write_text(text)
    database = tmp_path / "data" / "orders.db"
    database.parent.mkdir()
    status, stdout, stderr = run_server(
        "--port",
        "0",
        "--database",
        str(database),
        "--processor",
        path,
        environment={"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert (status, stdout) == (1, "")
    assert re.fullmatch(r"server\.py: can't import [^\n]+\n|server\.py: shop:process [^\n]+\n", stderr), stderr
    assert saying in stderr
    assert list(database.parent.iterdir()) == []


def test_a_function_is_found_in_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("raise RuntimeError('found')")
    done = subprocess.run(
        [sys.executable, ROOT / "server.py", "--port", "0", "--processor", "shop:process"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "server.py: can't import shop:process: RuntimeError: found\n"
    assert not (tmp_path / "orders.db").exists()


def test_a_failed_start_does_not_wait_for_threads_of_the_users_module(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("import threading\nthreading.Thread(target=threading.Event().wait).start()\n")
    status, _, stderr = run_server(
        "--port", "0", "--processor", "shop:process", environment={"PYTHONPATH": str(tmp_path)}
    )
    assert status == 1
    assert stderr.count("\n") == 1


URL = "http://127.0.0.1:9/orders"
WEBHOOK = ["--processor", "webhook"]


@pytest.mark.parametrize(
    "flags",
    [
        ["--processor", ""],
        ["--processor", "shop"],
        ["--processor", "shop:"],
        ["--processor", ":process"],
        ["--processor", "shop:process:again"],
        ["--processor", "shop:process()"],
        ["--processor", "a shop:process"],
        ["--processor", "Webhook"],
        WEBHOOK,
        [*WEBHOOK, "--webhook-url", URL],
        [*WEBHOOK, "--webhook-secret", SECRET],
        ["--webhook-url", URL],
        ["--processor", "shop:process", "--webhook-url", URL],
        *(
            [*WEBHOOK, "--webhook-secret", SECRET, "--webhook-url", url]
            for url in ("", "127.0.0.1:9", "ftp://shop.example", "http://", "http://me:pass@shop.example", "http://a b")
        ),
        *(
            [*WEBHOOK, "--webhook-url", URL, "--webhook-secret", secret]
            for secret in ("", "whsec_", "whsec_Zm9vYmFyYmF6Zm9vYmFy!", "Zm9vYmFyYmF6Zm9vYmFyA")
        ),
        [*WEBHOOK, "--webhook-url", URL, "--webhook-secrets", SECRET],
        [*WEBHOOK, "--webhook-url", URL, f"--webhok-secret={SECRET}"],
        [*WEBHOOK, "--webhook-url", URL, SECRET],
        [*WEBHOOK, "--webhook-url", URL, f"--webhook-secret{SECRET}"],
        [*WEBHOOK, "--webhook-url", URL, "--webhook-secret", f"{SECRET} "],
        [*WEBHOOK, "--webhook-url", URL, "--webhook-secret", f"{SECRET}\n{SECRET}"],
        [*WEBHOOK, "--webhook-url", URL, "--webhook-secret", f"{SECRET} Zm9vYmFyYmF6!"],
        *(
            [*WEBHOOK, "--webhook-url", URL, "--webhook-secret", SECRET, "--webhook-header", header]
            for header in (
                "",
                "Zm9vYmFy",
                ": Zm9vYmFy",
                "A B: Zm9vYmFy",
                "A:Zm9vYmFy\r\nB: c",
                "A: Zm9vYmFy\n",
                "A: Zm9vYmFy\nB: c",
                "A: Zm9vYmFy\0",
                "A: Zm9vYmFyé",
                "Content-Length: 5",
                "content-type: text/plain",
                "HOST: shop.example",
                "Connection: close",
                "Transfer-Encoding: chunked",
                "Webhook-Id: Zm9vYmFy",
                "webhook-signature: Zm9vYmFy",
                "Traceparent: Zm9vYmFy",
                "X-Request-Id: Zm9vYmFy",
            )
        ),
        ["--webhook-header", "A: Zm9vYmFy", "--webhook-header", "a: Zm9vYmFy"],
        ["--webhook-timeout", "0"],
        ["--webhook-timeout", "nan"],
        ["--webhook-timeout", "3601"],
        ["--max-attempts", "0"],
        ["--max-attempts", "1.5"],
    ],
    ids=" ".join,
)
def test_a_bad_processor_or_webhook_ends_with_status_2_and_shows_no_secret(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse_settings(flags, {})
    assert exit_.value.code == 2
    stderr = capsys.readouterr().err
    assert "error: " in stderr
    assert "Zm9vYmFy" not in stderr
    assert SECRET.removeprefix("whsec_") not in stderr


def test_a_bad_secret_in_the_environment_ends_with_status_2_and_is_not_shown(tmp_path: Path) -> None:
    status, stdout, stderr = run_server(
        "--database",
        str(tmp_path / "orders.db"),
        *WEBHOOK,
        "--webhook-url",
        URL,
        environment={"ORDERS_WEBHOOK_SECRET": "whsec_Zm9vYmFyYmF6!"},
    )
    assert (status, stdout) == (2, "")
    assert "argument --webhook-secret: must be base64" in stderr
    assert "Zm9vYmFy" not in stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_secrets_that_is_missing_ends_with_status_1(tmp_path: Path) -> None:
    file, database = tmp_path / "secrets", tmp_path / "orders.db"
    flags = (*WEBHOOK, "--webhook-url", URL, "--webhook-secret", f"@{file}")
    status, stdout, stderr = run_server("--database", str(database), *flags)
    assert (status, stdout) == (1, "")
    assert stderr == f"server.py: {file} can't be read: No such file or directory\n"
    assert list(tmp_path.iterdir()) == []


def test_the_record_processor_ignores_a_webhook_url_in_the_environment() -> None:
    environment = {"ORDERS_WEBHOOK_URL": URL, "ORDERS_WEBHOOK_SECRET": SECRET}
    assert parse_settings(["--processor", "record"], environment).processing.processor == "record"
    assert parse_settings(["--processor", "webhook"], environment).processing.webhook_url == URL


def test_a_webhook_has_several_secrets_headers_a_time_out_and_connections() -> None:
    flags = [
        *WEBHOOK,
        "--webhook-url",
        URL,
        "--webhook-header",
        "Authorization: Bearer  a b ",
        "--webhook-header",
        "B:",
    ]
    environment = {
        "ORDERS_WEBHOOK_SECRET": f"{SECRET} AAAA",
        "ORDERS_WEBHOOK_HEADER": "X-Shop: 1\nX-Other: 2",
        "ORDERS_WEBHOOK_TIMEOUT": "2.5",
        "ORDERS_WEBHOOK_CONNECTIONS": "3",
    }
    webhook = parse_settings(flags, environment).processing.webhook
    assert webhook == WebhookSettings(
        url=URL,
        secrets=SecretSource((SECRET, "AAAA")),
        headers=(("Authorization", "Bearer  a b"), ("B", "")),
        timeout_s=2.5,
        connections=3,
    )
    webhook = parse_settings(flags[:4], environment).processing.webhook
    assert webhook is not None
    assert webhook.headers == (("X-Shop", "1"), ("X-Other", "2"))
