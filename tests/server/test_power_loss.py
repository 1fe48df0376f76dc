"""Loss of power, at many moments of a server's life: every order that got a 202 is in what was synced by then.

A server runs under strace with clients of all kinds, is stopped, and runs again on the same file until it is killed.
From its system calls follows what a disk must have and what it may have at any moment (`tests/power/file.py` says what
is assumed of one), and what clients were told. The power is cut by putting such files down, and opening them as a
restart would. Where the disk does not hear of a sync, orders must be found missing: so much for the test itself.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest

from tests.live_orders import assert_counts, wait_until_processed
from tests.power.disk import Disk, Files, differences
from tests.power.history import INDEX, Step, syncs, without
from tests.power.recording import Moment, Recording, ends_of_certainty, moments, record
from tests.power.remains import DATABASE, Finding, Promises, Row, examine, put_down
from tests.process import ServerProcess, need

pytestmark = pytest.mark.slow

SEED = 20_250_301
CUTS = 160
RESTARTS = 3
SPOT_CHECKS = 12
ASKED = 200
LOG = DATABASE + "-wal"
FOLDER = ""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    need("strace")
    return record(tmp_path_factory.mktemp("disk"), tmp_path_factory.mktemp("traces"))


@pytest.fixture
def wreck() -> Iterator[Path]:
    """A folder for what is left; in memory, where there is a place for that, since it is made hundreds of times."""
    memory = Path("/dev/shm")  # noqa: S108
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder) / "left"


def test_the_calls_tell_all_that_happened_to_the_files_and_all_that_was_acknowledged(recording: Recording) -> None:
    steps = recording.steps
    for moment in moments(recording):
        if moment.place == recording.stopped - 1:
            assert differences(moment.disk.written(), recording.files[0]) == []
    assert differences(moment.disk.written(), recording.files[1]) == []
    assert set(recording.files[0]) == {DATABASE}
    assert set(recording.files[1]) == {DATABASE, LOG, DATABASE + ".lock"}
    assert moment.promises.requests == recording.traffic.accepted
    for name, at_least in ((LOG, 50), (DATABASE, 5), (FOLDER, 3)):
        assert len(syncs(steps, name)) >= at_least
    print(f"{len(moment.promises.stored)} orders acknowledged, {len(ends_of_certainty(steps)) - 1} syncs")


def test_every_acknowledged_order_is_in_what_was_synced(recording: Recording, wreck: Path) -> None:
    places = ends_of_certainty(recording.steps)
    for moment in moments(recording):
        if moment.place in places:
            put_down(moment.disk.safe(), wreck)
            assert_nothing_is_lost(recording, wreck, moment)


def test_every_acknowledged_order_is_there_whatever_else_reached_the_disk(recording: Recording, wreck: Path) -> None:
    chance = Random(SEED)
    places = draw_places(recording.steps, chance)
    print(f"seed {SEED}: {len(places)} of {len(recording.steps)} moments, two outcomes each")
    for moment in moments(recording):
        if moment.place in places:
            put_down(moment.disk.written(), wreck)
            assert_nothing_is_lost(recording, wreck, moment)
            put_down(left_over(moment.disk, chance), wreck)
            assert_nothing_is_lost(recording, wreck, moment)


def draw_places(steps: Sequence[Step], chance: Random) -> set[int]:
    """As many moments at which something is sent as at which anything happens."""
    sending = [place for place, step in enumerate(steps) if step.sent]
    return {*chance.sample(sending, CUTS // 2), *chance.sample(range(len(steps)), CUTS // 2)}


def left_over(disk: Disk, chance: Random) -> Files:
    files = disk.left_over(chance)
    if chance.random() < 0.5:
        # Nobody syncs SQLite's index of the log, so anything may be in it.
        files[DATABASE + INDEX] = chance.randbytes(32_768)
    return files


def assert_nothing_is_lost(recording: Recording, wreck: Path, moment: Moment) -> None:
    found = examine(wreck, moment.promises, recording.possible)
    assert found == Finding(0, []), f"after step {moment.place}, seed {SEED}"


def test_a_server_that_starts_after_an_outage_answers_for_every_acknowledged_order(
    recording: Recording, tmp_path: Path
) -> None:
    chance = Random(SEED)
    places = chance.sample(range(len(recording.steps)), RESTARTS)
    told: list[set[Row]] = []
    for moment in moments(recording):
        if moment.place in places:
            put_down(left_over(moment.disk, chance), tmp_path / str(len(told)))
            told.append(set(moment.promises.stored))
    with ExitStack() as running:
        servers = [running.enter_context(ServerProcess(tmp_path / str(n) / DATABASE)) for n in range(RESTARTS)]
        for server, stored in zip(servers, told, strict=True):
            assert_answers_for(server, stored, recording.possible, chance)


def assert_answers_for(server: ServerProcess, stored: set[Row], possible: frozenset[Row], chance: Random) -> None:
    wait_until_processed(server)
    with server.client() as client:
        for row in chance.sample(sorted(stored), min(ASKED, len(stored))):
            answer = client.ask("GET", f"/order/{row.order_id}")
            assert answer.status == 200, f"order {row.order_id} is lost, seed {SEED}"
            assert (answer.body["user_id"], answer.body["status"]) == (row.user_id, "Completed")
            assert round(answer.body["total_amount"] * 10_000) == row.total_amount
        total = client.ask("GET", "/metrics").body["total_orders"]
    assert_counts(server, Completed=total)
    told = Promises({}, stored=stored, completed={row.order_id for row in stored})
    assert examine(server.database.parent, told, possible) == Finding(0, [])


@pytest.mark.parametrize("unheard", [LOG, DATABASE, FOLDER])
def test_without_the_syncs_of_one_kind_acknowledged_orders_are_found_missing(
    recording: Recording, wreck: Path, unheard: str
) -> None:
    steps = without(recording.steps, set(syncs(recording.steps, unheard)))
    places = Random(SEED).sample(sorted(ends_of_certainty(recording.steps)), SPOT_CHECKS)
    missing = [found.missing for found in examine_safe(recording, steps, places, wreck)]
    print(f"without the syncs of {unheard or 'the folder'}: missing {missing}")
    assert max(missing) >= 100


def test_a_single_sync_of_the_log_that_is_left_out_before_a_202_is_found(recording: Recording, wreck: Path) -> None:
    chance = Random(SEED)
    ends = syncs(recording.steps, LOG)
    telling = [
        (end, following)
        for end, following in pairwise(ends)
        if any(b" 202 " in step.sent for step in recording.steps[end:following])
    ]
    # Not two in a row: the next sync makes up for the one before.
    chosen = dict(chance.sample(telling[::2], SPOT_CHECKS))
    steps = without(recording.steps, chosen.keys())
    findings = examine_safe(recording, steps, [following - 1 for following in chosen.values()], wreck)
    print(f"without one sync of the log each: missing {[found.missing for found in findings]}")
    # Some syncs cover what had ended or was moved into the database, and no new orders.
    assert sum(found.missing > 0 for found in findings) > SPOT_CHECKS / 2


def examine_safe(recording: Recording, steps: Sequence[Step], places: Sequence[int], wreck: Path) -> list[Finding]:
    """What is wrong with what was synced and nothing else, at these places of other steps."""
    findings = []
    for moment in moments(recording, steps):
        if moment.place in places:
            put_down(moment.disk.safe(), wreck)
            findings.append(examine(wreck, moment.promises, recording.possible))
    return findings
