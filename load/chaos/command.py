"""`python -m load.chaos`: kills, freezes, locks and fills servers under load, and proves that no order suffers.

It starts two servers with databases of their own, one that takes orders as they are and one that delivers webhooks,
sends them orders from many clients, and does harm to both at random. When it is over it reads every acknowledged order
back, ends the servers, and recounts their files. This runs on the main thread.
"""

import argparse
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import msgspec

from load.chaos.campaign import Campaign
from load.chaos.lifecycle import ServerLost
from load.chaos.plan import RECORD, SHOPS, WEBHOOK, Fault, plan_faults
from load.chaos.receiver import Receiver
from load.chaos.shop import Shop
from load.chaos.table import failures_of, summary_of, to_json
from load.flag_types import OneLineParser, whole_number, writable_file
from load.machine import run_to_end

FAULTS, ORDERS = 36, 10_000
MOST_FAULTS, MOST_ORDERS = 100_000, 100_000_000
SEED_BITS = 31
GOOD, BAD, INTERRUPTED, TERMINATED = 0, 1, 130, 143
SERVER = ("server.py",)
# The least that the slowest server must do: a limit, no measure.
SLOWEST_PER_S = 250
FAULT_S, REST_S = 8.0, 300.0
# Faults alone must fail nobody.
WEBHOOK_FLAGS = ("--processor", WEBHOOK, "--max-attempts", "1000", "--drain-timeout", "2")
RECORD_FLAGS = ("--processor", RECORD)
# Not a secret: nothing but this program hears of it.
KEY = "Y2hhb3MtY2hhb3MtY2hhb3MtY2hhb3MtY2hhb3M="


def main(argv: Sequence[str], *, server: Sequence[str] = SERVER) -> int:
    """Run it and give the exit status: 0 only when nothing was wrong and every fault was made; 2 for bad flags.

    `server` is what is started, but for its flags.
    """
    flags = _parse(argv)
    terminated: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        # As Ctrl-C does, so that it cleans up the same.
        terminated.append(number)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, stop)
    folder = Path(tempfile.mkdtemp(prefix="load-chaos-", dir=flags.folder))
    # A commit that is made meanwhile must not take the databases in.
    (folder / ".gitignore").write_text("*\n")
    try:
        status = _run(flags, folder, server)
    except KeyboardInterrupt:
        status = TERMINATED if terminated else INTERRUPTED
    except BaseException:
        print(f"The databases and logs are in {folder}", file=sys.stderr)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    if status == BAD:
        print(f"The databases and logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return status


def _run(flags: argparse.Namespace, folder: Path, server: Sequence[str]) -> int:
    plan = plan_faults(flags.seed, flags.faults)
    print(
        f"seed {flags.seed}: {flags.faults} faults, at least {flags.orders:,} orders, databases in {folder}", flush=True
    )
    with ExitStack() as stack:
        receiver = stack.enter_context(Receiver())
        webhook = (*WEBHOOK_FLAGS, "--webhook-url", receiver.url, "--webhook-secret", KEY)
        shops = {}
        for name, more in zip(SHOPS, (RECORD_FLAGS, webhook), strict=True):
            shops[name] = Shop(
                name=name, command=[*server, *more], folder=folder / name, seed=flags.seed, clock_s=time.monotonic
            )
            stack.callback(shops[name].close)
        campaign = Campaign(
            plan=plan,
            orders=flags.orders,
            seed=flags.seed,
            shops=shops,
            receiver=receiver,
            tell=lambda line: print(line, flush=True),
            clock_ns=time.monotonic_ns,
        )
        try:
            run_to_end(campaign.run(limit_s=limit_of(plan, flags.orders)))
        except ServerLost as problem:
            campaign.outcome.failed.append(str(problem))
        except BaseExceptionGroup as problems:
            lost = problems.subgroup(ServerLost)
            if lost is None or lost.exceptions != problems.exceptions:
                raise
            campaign.outcome.failed += [str(each) for each in lost.exceptions]
    outcome = campaign.outcome
    for line in (*summary_of(outcome, plan), *failures_of(outcome, shops.values())):
        print(line)
    if flags.json:
        report = to_json(outcome, plan, seed=flags.seed)
        flags.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return GOOD if outcome.is_good else BAD


def limit_of(plan: Sequence[Fault], orders: int) -> float:
    """Give how many seconds a run may take at most."""
    return sum(fault.pause_s for fault in plan) + FAULT_S * len(plan) + orders / SLOWEST_PER_S + REST_S


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = OneLineParser(prog="python -m load.chaos", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--faults", type=whole_number(MOST_FAULTS), default=FAULTS, help="how many to make (%(default)s, in a minute)"
    )
    parser.add_argument(
        "--orders",
        type=whole_number(MOST_ORDERS),
        default=ORDERS,
        help="go on until so many are acknowledged, at least (%(default)s)",
    )
    parser.add_argument(
        "--seed", type=whole_number(), default=1 + secrets.randbits(SEED_BITS), help="which faults those are (random)"
    )
    parser.add_argument(
        "--folder", type=_folder, default=Path(), help="where the databases are made: on a disk, not tmpfs (here)"
    )
    parser.add_argument("--json", type=writable_file, metavar="FILE", help="write the result to this file as well")
    return parser.parse_args(argv)


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return Path(text)
