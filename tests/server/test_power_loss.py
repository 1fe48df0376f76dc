"""Simulates power losses at many moments. Every order with a 202 response must be in the synced files.

A server with clients of all kinds runs under strace and is stopped. Then a server runs on the same file and is killed.
The system calls show which orders were acknowledged, and what a disk must or can contain at each moment.
`tests/power/file.py` lists the assumptions. A test writes files with such contents to a folder, and opens them as a
restarted server does. To test the simulation itself, some syncs are ignored: then orders must be missing.
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
from tests.power.recording import Moment, Recording, moments, places_before_syncs, record
from tests.power.recovery import DATABASE, Acknowledgements, Finding, Row, check_recovery, write_files
from tests.power.steps import SHARED_MEMORY, Step, syncs, without_steps
from tests.process import ServerProcess, need

pytestmark = [pytest.mark.slow, pytest.mark.sqlite]

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
def folder() -> Iterator[Path]:
    """A folder for the files after a power loss, in memory if possible, because files are written there very often."""
    memory = Path("/dev/shm")  # noqa: S108 - the folder inside it has a random name
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder) / "left"


def test_the_recorded_calls_explain_all_files_and_acknowledgements(recording: Recording) -> None:
    steps = recording.steps
    for moment in moments(recording):
        if moment.place == recording.first_run - 1:
            assert differences(moment.disk.written(), recording.files[0]) == []
    assert differences(moment.disk.written(), recording.files[1]) == []
    assert set(recording.files[0]) == {DATABASE}
    assert set(recording.files[1]) == {DATABASE, LOG, DATABASE + ".lock"}
    assert moment.acknowledged.requests == recording.clients.accepted
    for name, at_least in ((LOG, 50), (DATABASE, 5), (FOLDER, 3)):
        assert len(syncs(steps, name)) >= at_least
    print(f"{len(moment.acknowledged.stored)} orders acknowledged, {len(places_before_syncs(steps)) - 1} syncs")


def test_every_acknowledged_order_is_in_the_synced_files(recording: Recording, folder: Path) -> None:
    places = places_before_syncs(recording.steps)
    for moment in moments(recording):
        if moment.place in places:
            write_files(moment.disk.synced(), folder)
            assert_nothing_is_lost(recording, folder, moment)


def test_no_order_is_lost_whatever_unsynced_data_reached_the_disk(recording: Recording, folder: Path) -> None:
    chance = Random(SEED)
    places = draw_places(recording.steps, chance)
    print(f"seed {SEED}: {len(places)} of {len(recording.steps)} moments, two outcomes each")
    for moment in moments(recording):
        if moment.place in places:
            write_files(moment.disk.written(), folder)
            assert_nothing_is_lost(recording, folder, moment)
            write_files(after_power_loss(moment.disk, chance), folder)
            assert_nothing_is_lost(recording, folder, moment)


def draw_places(steps: Sequence[Step], chance: Random) -> set[int]:
    """Random indexes in `steps`. Half of the indexes belong to steps that send a response, half to any steps."""
    sending = [place for place, step in enumerate(steps) if step.sent]
    return {*chance.sample(sending, CUTS // 2), *chance.sample(range(len(steps)), CUTS // 2)}


def after_power_loss(disk: Disk, chance: Random) -> Files:
    files = disk.after_power_loss(chance)
    if chance.random() < 0.5:
        # SQLite's shared memory is never synced, so it can have any content.
        files[DATABASE + SHARED_MEMORY] = chance.randbytes(32_768)
    return files


def assert_nothing_is_lost(recording: Recording, folder: Path, moment: Moment) -> None:
    found = check_recovery(folder, moment.acknowledged, recording.possible)
    assert found == Finding(0, []), f"after step {moment.place}, seed {SEED}"


def test_a_server_started_after_a_power_loss_has_all_orders(recording: Recording, tmp_path: Path) -> None:
    chance = Random(SEED)
    places = chance.sample(range(len(recording.steps)), RESTARTS)
    acknowledged: list[set[Row]] = []
    for moment in moments(recording):
        if moment.place in places:
            write_files(after_power_loss(moment.disk, chance), tmp_path / str(len(acknowledged)))
            acknowledged.append(set(moment.acknowledged.stored))
    with ExitStack() as running:
        servers = [running.enter_context(ServerProcess(tmp_path / str(n) / DATABASE)) for n in range(RESTARTS)]
        for server, stored in zip(servers, acknowledged, strict=True):
            assert_has_orders(server, stored, recording.possible, chance)


def assert_has_orders(server: ServerProcess, stored: set[Row], possible: frozenset[Row], chance: Random) -> None:
    wait_until_processed(server)
    with server.client() as client:
        for row in chance.sample(sorted(stored), min(ASKED, len(stored))):
            answer = client.ask("GET", f"/order/{row.order_id}")
            assert answer.status == 200, f"order {row.order_id} is lost, seed {SEED}"
            assert (answer.body["user_id"], answer.body["status"]) == (row.user_id, "Completed")
            assert round(answer.body["total_amount"] * 10_000) == row.total_amount
        total = client.ask("GET", "/metrics").body["total_orders"]
    assert_counts(server, Completed=total)
    acknowledged = Acknowledgements({}, stored=stored, completed={row.order_id for row in stored})
    assert check_recovery(server.database.parent, acknowledged, possible) == Finding(0, [])


@pytest.mark.parametrize("ignored", [LOG, DATABASE, FOLDER])
def test_if_syncs_of_one_file_are_ignored_orders_are_missing(recording: Recording, folder: Path, ignored: str) -> None:
    steps = without_steps(recording.steps, set(syncs(recording.steps, ignored)))
    places = Random(SEED).sample(sorted(places_before_syncs(recording.steps)), SPOT_CHECKS)
    missing = [found.missing for found in check_synced(recording, steps, places, folder)]
    print(f"without the syncs of {ignored or 'the folder'}: missing {missing}")
    assert max(missing) >= 100


def test_if_one_sync_of_the_log_is_ignored_orders_are_missing(recording: Recording, folder: Path) -> None:
    chance = Random(SEED)
    ends = syncs(recording.steps, LOG)
    acknowledging = [
        (end, following)
        for end, following in pairwise(ends)
        if any(b" 202 " in step.sent for step in recording.steps[end:following])
    ]
    # Not two syncs in a row: the sync after an ignored one has to write the data of both.
    chosen = dict(chance.sample(acknowledging[::2], SPOT_CHECKS))
    steps = without_steps(recording.steps, chosen.keys())
    findings = check_synced(recording, steps, [following - 1 for following in chosen.values()], folder)
    print(f"without one sync of the log each: missing {[found.missing for found in findings]}")
    # Some syncs write only ended attempts or checkpoints, and no new orders.
    assert sum(found.missing > 0 for found in findings) > SPOT_CHECKS / 2


def check_synced(recording: Recording, steps: Sequence[Step], places: Sequence[int], folder: Path) -> list[Finding]:
    """Checks the synced files without any unsynced data, at these places of `steps`."""
    findings = []
    for moment in moments(recording, steps):
        if moment.place in places:
            write_files(moment.disk.synced(), folder)
            findings.append(check_recovery(folder, moment.acknowledged, recording.possible))
    return findings
