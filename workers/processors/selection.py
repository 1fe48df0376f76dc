"""Builds the processor that `--processor` names. Runs on the main thread."""

import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from models.errors import StartRefusedError
from workers.backoff import Backoff
from workers.processors.claim_gate import ClaimGate, OpenGate
from workers.processors.functions.coroutine_thread import CoroutineThread
from workers.processors.functions.function import AsyncFunctionProcessor, FunctionProcessor, is_async, load_function
from workers.processors.functions.runner import FunctionRunner, Workers
from workers.processors.functions.worker_coroutines import WorkerCoroutines
from workers.processors.functions.worker_threads import WorkerThreads
from workers.processors.order_queue import MAX_ORDERS
from workers.processors.processor import AttemptRunner
from workers.processors.record import RecordRunner
from workers.processors.webhooks.delivery_gate import DeliveryGate
from workers.processors.webhooks.secrets import SecretFile
from workers.processors.webhooks.settings import WebhookSettings

RECORD = "record"
WEBHOOK = "webhook"
MAX_PAUSE_BACKOFF_S = 60.0
"""The longest pause of deliveries, in seconds, unless the receiver requests a longer pause."""


def check_processor(text: str) -> str:
    """Returns the text. Raises ValueError if it is not a valid value of `--processor`."""
    if text not in (RECORD, WEBHOOK) and not re.fullmatch(r"[\w.]+:[\w.]+", text):
        raise ValueError(f"must be {RECORD}, {WEBHOOK} or package.module:function")
    return text


class SelectedProcessor(NamedTuple):
    """The runner that makes attempts, and the gate that limits how many orders are claimed for the runner.

    `connections` is the number of network connections that are expected at a time. For a function, one connection for
    each thread is expected. `secret_file` is the file of webhook secrets, for a reload; None if the processor has no
    such file.
    """

    runner: AttemptRunner
    connections: int
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
    Only a user's function uses `coroutines`. An attempt is given up after `attempt_timeout_s` seconds. None means that
    there is no time-out. Raises StartRefusedError if the processor can't be used.
    """
    if name == RECORD:
        return SelectedProcessor(RecordRunner(), 0, OpenGate())
    if name == WEBHOOK:
        if webhook is None:
            raise ValueError("a webhook needs a URL and a secret")
        return _webhook(webhook, attempt_timeout_s=attempt_timeout_s, clock_us=clock_us)
    # Modules in the current folder can be imported, as with `python -m`.
    sys.path.append("")
    function = load_function(name)
    threads = workers if attempt_timeout_s is None else 2 * workers
    makers: Workers
    if is_async(function):
        makers = WorkerCoroutines(processor=AsyncFunctionProcessor(function), coroutines=coroutines)
    else:
        pool = ThreadPoolExecutor(threads, "worker")
        makers = WorkerThreads(processor=FunctionProcessor(function, coroutines=coroutines), pool=pool)
    runner = FunctionRunner(workers=makers, places=workers, timeout_s=attempt_timeout_s)
    return SelectedProcessor(runner, threads, OpenGate())


def _webhook(
    settings: WebhookSettings, *, attempt_timeout_s: float | None, clock_us: Callable[[], int]
) -> SelectedProcessor:
    try:
        # Imported only here, because libcurl takes 5 MB of memory.
        from workers.processors.webhooks.runner import WebhookRunner
    except ModuleNotFoundError as missing:
        reason = f'the package "{missing.name}" is not installed: run pip install -r requirements.txt'
        raise StartRefusedError(reason) from None
    gate = DeliveryGate(
        max_open=settings.connections,
        queue=MAX_ORDERS,
        backoff=Backoff(first_s=1.0, max_s=MAX_PAUSE_BACKOFF_S),
        clock=time.monotonic,
        clock_us=clock_us,
    )
    runner = WebhookRunner(settings=settings, gate=gate, attempt_timeout_s=attempt_timeout_s)
    file = settings.secrets.file
    secret_file = None if file is None else SecretFile(file, signer=runner)
    return SelectedProcessor(runner, settings.connections, gate, secret_file)
