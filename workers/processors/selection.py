"""Builds the processor that `--processor` names. Runs on the main thread."""

import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from workers.backoff import Backoff
from workers.processors.claim_gate import ClaimGate, OpenGate
from workers.processors.coroutine_runner import CoroutineRunner
from workers.processors.coroutine_thread import CoroutineThread
from workers.processors.delivery_gate import DeliveryGate
from workers.processors.function import AsyncFunctionProcessor, FunctionProcessor, is_async, load_function
from workers.processors.order_queue import QUEUE_S
from workers.processors.processor import AttemptRunner
from workers.processors.record import RecordRunner
from workers.processors.thread_runner import Processor, ThreadRunner
from workers.processors.webhook import WebhookProcessor, WebhookSettings
from workers.processors.webhook_secrets import SecretFile

RECORD = "record"
WEBHOOK = "webhook"
MAX_PAUSE_BACKOFF_S = 60.0
"""The longest pause of deliveries, in seconds, unless the receiver requests a longer one."""


def check_processor(text: str) -> str:
    """Returns the text. Raises ValueError if it is not a valid value of `--processor`."""
    if text not in (RECORD, WEBHOOK) and not re.fullmatch(r"[\w.]+:[\w.]+", text):
        raise ValueError(f"must be {RECORD}, {WEBHOOK} or package.module:function")
    return text


class SelectedProcessor(NamedTuple):
    """What makes attempts, and the gate that limits how many orders are claimed for it.

    `threads` is the maximum number of threads that call a function or send webhooks. `secret_file` is the file of
    webhook secrets, for a reload; None if the processor has no such file.
    """

    runner: AttemptRunner
    threads: int
    gate: ClaimGate
    secret_file: SecretFile | None = None


def build_processor(
    name: str,
    *,
    webhook: WebhookSettings | None,
    workers: int,
    attempt_timeout_s: float | None,
    clock_us: Callable[[], int],
    coroutines: CoroutineThread,
) -> SelectedProcessor:
    """Returns the processor that `name`, a value of `--processor`, selects.

    Only the webhook processor uses the settings `webhook`, and `clock_us`, which returns microseconds since 1970, UTC.
    Only a user's function uses `coroutines`. An attempt is given up after `attempt_timeout_s` seconds, unless this is
    None. Raises FunctionRefusedError and SecretsRefusedError.
    """
    if name == RECORD:
        return SelectedProcessor(RecordRunner(), 0, OpenGate())
    threads = workers if attempt_timeout_s is None else 2 * workers

    def runner_of(processor: Processor, queue_s: float) -> ThreadRunner:
        return ThreadRunner(
            processor=processor,
            pool=ThreadPoolExecutor(threads, "worker"),
            workers=workers,
            timeout_s=attempt_timeout_s,
            queue_s=queue_s,
        )

    if name == WEBHOOK:
        if webhook is None:
            raise ValueError("a webhook needs a URL and a secret")
        gate = DeliveryGate(
            max_open=workers,
            backoff=Backoff(first_s=1.0, max_s=MAX_PAUSE_BACKOFF_S),
            clock=time.monotonic,
            clock_us=clock_us,
        )
        processor = WebhookProcessor(settings=webhook, connections=workers, gate=gate)
        file = webhook.secrets.file
        reloadable = None if file is None else SecretFile(file, signer=processor)
        return SelectedProcessor(runner_of(lambda order: processor([order]), 0.0), threads, gate, reloadable)
    # Modules in the current folder can be imported, as with `python -m`.
    sys.path.append("")
    function = load_function(name)
    if is_async(function):
        runner = CoroutineRunner(
            processor=AsyncFunctionProcessor(function),
            coroutines=coroutines,
            workers=workers,
            timeout_s=attempt_timeout_s,
        )
        return SelectedProcessor(runner, threads, OpenGate())
    return SelectedProcessor(
        runner_of(FunctionProcessor(function, coroutines=coroutines), QUEUE_S), threads, OpenGate()
    )
