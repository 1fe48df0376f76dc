"""`python -m load.chaos`: kills, freezes, locks and fills servers under load, and proves that no order suffers.

It starts two servers with databases of their own, one that takes orders as they are and one that delivers webhooks,
sends them orders from many clients, and does harm to both at random. When it is over it reads every acknowledged order
back, ends the servers, and recounts their files. This runs on the main thread.

The exit status is 0 if every fault was made and nothing was wrong, 1 if not, 2 for bad flags, 130 after Ctrl-C, which
prints what there is.
"""

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from load.chaos.campaign import Campaign
from load.chaos.deliveries import Deliveries
from load.chaos.ledger import Ledger
from load.chaos.lifecycle import ServerLost
from load.chaos.plan import RECORD, SHOPS, WEBHOOK, Fault, plan_faults
from load.chaos.receiver import Receiver, ReceiverLost
from load.chaos.shop import Shop
from load.chaos.table import failures_of, summary_of, to_json, wrongs_of
from load.cli.flags import CommandParser, named_file, whole_number, writable_folder
from load.cli.outputs import BAD, GOOD, INTERRUPTED, Unwritable, check_files, write_json
from load.system.machine import TooFewFiles, allow_connections, folder_to_keep, run_to_end

FAULTS, ORDERS = 36, 10_000
MOST_FAULTS, MOST_ORDERS = 100_000, 100_000_000
SEED_BITS = 31
SERVER = ("server.py",)
# The least that the slowest server must do: a limit, no measure.
SLOWEST_PER_S = 250
FAULT_S, REST_S = 8.0, 300.0
# Faults alone must fail nobody.
WEBHOOK_FLAGS = ("--processor", WEBHOOK, "--max-attempts", "1000", "--drain-timeout", "2")
RECORD_FLAGS = ("--processor", RECORD)
# Clients, those that vanish, readers, webhooks; the servers inherit the limit.
CONNECTIONS = 200
# Not a secret: nothing but this program hears of it.
KEY = "Y2hhb3MtY2hhb3MtY2hhb3MtY2hhb3MtY2hhb3M="


def main(argv: Sequence[str], *, server: Sequence[str] = SERVER) -> int:
    """Run it and give the exit status: 0 only when nothing was wrong and every fault was made; 2 for bad flags.

    It is 130 after Ctrl-C, before which what is known by then is printed. `server` is what is started, but for its
    flags.
    """
    flags = _parse(argv)
    status, is_wanted = BAD, True
    try:
        allow_connections(CONNECTIONS)
        check_files(flags.json)
        with folder_to_keep(flags.folder, prefix="load-chaos-", is_wanted=lambda: is_wanted) as folder:
            status, is_wanted, report = _run(flags, folder, server)
        if flags.json:
            write_json(flags.json, report)
    except (TooFewFiles, Unwritable) as problem:
        status = BAD
        print(f"python -m load.chaos: {problem}", file=sys.stderr)
    except KeyboardInterrupt:
        status = INTERRUPTED
    return status


def _run(flags: argparse.Namespace, folder: Path, server: Sequence[str]) -> tuple[int, bool, dict[str, Any]]:
    """Give the exit status, whether anything was wrong, and the result."""
    plan = plan_faults(flags.seed, flags.faults)
    where = flags.folder / folder.name
    print(
        f"seed {flags.seed}: {flags.faults} faults, at least {flags.orders:,} orders, databases in {where}", flush=True
    )
    with ExitStack() as stack:
        deliveries = Deliveries(orders=Ledger(seed=flags.seed, name=WEBHOOK).orders, secret=KEY)
        receiver = stack.enter_context(Receiver(deliveries))
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
            time_s=time.time,
        )
        outcome = campaign.outcome
        try:
            run_to_end(campaign.run(limit_s=limit_of(plan, flags.orders)))
        except* (ServerLost, ReceiverLost) as lost:
            outcome.failed += [str(each) for each in lost.exceptions]
        except* (KeyboardInterrupt, asyncio.CancelledError):
            outcome.is_interrupted = True
            print("interrupted")
    for line in (*summary_of(outcome, plan), *failures_of(outcome, shops.values())):
        print(line)
    report = to_json(outcome, plan, seed=flags.seed)
    if outcome.is_interrupted:
        return INTERRUPTED, any(wrongs_of(outcome, shops.values())), report
    return (GOOD, False, report) if outcome.is_good else (BAD, True, report)


def limit_of(plan: Sequence[Fault], orders: int) -> float:
    """Give how many seconds a run may take at most."""
    return sum(fault.pause_s for fault in plan) + FAULT_S * len(plan) + orders / SLOWEST_PER_S + REST_S


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser("load.chaos", description=__doc__)
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
        "--folder",
        type=writable_folder,
        default=Path(),
        help="where the databases are made: on a disk, not tmpfs (here)",
    )
    parser.add_argument("--json", type=named_file, metavar="FILE", help="write the result to this file as well")
    return parser.parse_args(argv)
